"""`HashEncoding`'s look-up and its gradient, compiled for the CPU by numba, an optional library."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gen3dface.errors import MissingExtraError

try:
    from numba import njit
except ImportError as error:
    raise MissingExtraError("numba is not installed: pip install 'gen3dface[synth]'.") from error

_Y, _Z = np.int64(2_654_435_761), np.int64(805_459_861)


def encode(points: Tensor, table: Tensor, cells: Tensor, origin: Tensor, dense: int, rows: int) -> Tensor:
    """Features [P, L F] of points [P, 3] in 0..1 from a table [T, F]; gradients reach the table."""
    found: Tensor = _Encode.apply(table, points, cells, origin, dense, rows)
    return found


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, table: Tensor, points: Tensor, cells: Tensor, origin: Tensor, dense: int, rows: int
    ) -> Tensor:
        ctx.grids, ctx.shape = (points, cells, origin, dense, rows), table.shape
        out = np.zeros((len(points), len(cells) * table.shape[1]), np.float32)
        _look_up(table.numpy(), points.numpy(), cells.numpy(), origin.numpy(), dense, rows, out)
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        out = np.zeros(ctx.shape, np.float32)
        points, cells, origin, dense, rows = ctx.grids
        _scatter(grad.contiguous().numpy(), points.numpy(), cells.numpy(), origin.numpy(), dense, rows, out)
        return torch.from_numpy(out), None, None, None, None, None


@njit(cache=True, nogil=True, inline="always")
def _cell(value: Any, cells: Any) -> tuple[Any, Any]:
    """The cell that a coordinate in 0..1 lies in, and where in it, 0..1."""
    scaled = min(max(value, np.float32(0)), np.float32(1)) * cells
    low = min(np.int64(scaled), cells - 1)
    return low, np.float32(scaled - low)


@njit(cache=True, nogil=True)
def _corners(point: Any, cells: Any, whole: bool, mask: Any, rows: Any, weights: Any) -> None:
    """The rows, within a level's part of the table, and the weights of the eight corners around a point."""
    x, u = _cell(point[0], cells)
    y, v = _cell(point[1], cells)
    z, w = _cell(point[2], cells)
    for corner in range(8):
        i, j, k = corner & 1, (corner >> 1) & 1, corner >> 2
        weights[corner] = (u if i else 1 - u) * (v if j else 1 - v) * (w if k else 1 - w)
        if whole:
            rows[corner] = x + i + (cells + 1) * (y + j + (cells + 1) * (z + k))
        else:
            rows[corner] = ((x + i) ^ ((y + j) * _Y) ^ ((z + k) * _Z)) & mask


@njit(cache=True, nogil=True)
def _look_up(table: Any, points: Any, cells: Any, origin: Any, dense: int, rows: int, out: Any) -> None:
    features = table.shape[1]
    at, weights = np.empty(8, np.int64), np.empty(8, np.float32)
    for level in range(len(cells)):
        for p in range(len(points)):
            _corners(points[p], cells[level], level < dense, rows - 1, at, weights)
            for corner in range(8):
                for f in range(features):
                    out[p, level * features + f] += weights[corner] * table[origin[level] + at[corner], f]


@njit(cache=True, nogil=True)
def _scatter(grad: Any, points: Any, cells: Any, origin: Any, dense: int, rows: int, out: Any) -> None:
    features = out.shape[1]
    at, weights = np.empty(8, np.int64), np.empty(8, np.float32)
    for level in range(len(cells)):
        for p in range(len(points)):
            _corners(points[p], cells[level], level < dense, rows - 1, at, weights)
            for corner in range(8):
                for f in range(features):
                    out[origin[level] + at[corner], f] += weights[corner] * grad[p, level * features + f]
