"""`visibility`'s two loops compiled for the CPU by numba, an optional library."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.data_synth.rendered.visibility import LEAST_STRANDS
from gen3dface.errors import MissingExtraError

try:
    from numba import njit
except ImportError as error:
    raise MissingExtraError("numba is not installed: pip install 'gen3dface[synth]'.") from error


def draw_triangles(vertices: Tensor, faces: Tensor, camera: Cameras) -> tuple[Tensor, Tensor]:
    """As `visibility.draw_triangles`."""
    xy, z = camera.project(vertices)
    depth = np.full((camera.height, camera.width), np.inf, np.float32)
    face = np.full(depth.shape, -1, np.int64)
    _triangle_loop(xy[0].numpy(), z[0].numpy(), faces.numpy(), depth, face)
    return torch.from_numpy(depth), torch.from_numpy(face)


def draw_strands(xy: Tensor, z: Tensor, width: Tensor, depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As `visibility.draw_strands`."""
    nearest = depth.numpy().copy()
    hit = np.full(nearest.shape, -1, np.int64)
    along = np.zeros(nearest.shape, np.float32)
    _strand_loop(xy.numpy(), z.numpy(), width.numpy(), nearest, hit, along)
    return torch.from_numpy(nearest), torch.from_numpy(hit), torch.from_numpy(along)


@njit(cache=True)
def _scramble(number: int) -> float:
    """`visibility._hash`."""
    mask = 0xFFFFFFFF
    number = (number * 2654435761) & mask
    number = ((number ^ (number >> 15)) * 2246822519) & mask
    return np.float32((number ^ (number >> 13)) >> 8) / np.float32(1 << 24)


@njit(cache=True, nogil=True)
def _triangle_loop(xy: Any, z: Any, faces: Any, depth: Any, face: Any) -> None:
    height, width = depth.shape
    half = np.float32(0.5)
    for f in range(faces.shape[0]):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        za, zb, zc = z[i], z[j], z[k]
        if min(za, zb, zc) <= np.float32(1e-3):
            continue
        ax, ay, bx, by, cx, cy = xy[i, 0], xy[i, 1], xy[j, 0], xy[j, 1], xy[k, 0], xy[k, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0:
            continue
        left = max(int(np.ceil(min(ax, bx, cx) - half)), 0)
        right = min(int(np.floor(max(ax, bx, cx) - half)), width - 1)
        top = max(int(np.ceil(min(ay, by, cy) - half)), 0)
        bottom = min(int(np.floor(max(ay, by, cy) - half)), height - 1)
        for row in range(top, bottom + 1):
            y = np.float32(row) + half
            for column in range(left, right + 1):
                x = np.float32(column) + half
                u = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
                v = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
                w = ((ax - x) * (by - y) - (ay - y) * (bx - x)) / area
                if u < 0 or v < 0 or w < 0:
                    continue
                at = np.float32(1) / (u / za + v / zb + w / zc)
                if at < depth[row, column]:
                    depth[row, column] = at
                    face[row, column] = f


@njit(cache=True, nogil=True)
def _strand_loop(xy: Any, z: Any, width: Any, depth: Any, hit: Any, along: Any) -> None:
    height, columns = depth.shape
    count = xy.shape[1]
    half, one = np.float32(0.5), np.float32(1)
    least = np.float32(LEAST_STRANDS)
    for s in range(xy.shape[0]):
        chance = _scramble(s)
        for j in range(count - 1):
            za, zb = z[s, j], z[s, j + 1]
            mean = (width[s, j] + width[s, j + 1]) * half
            part = max(least, min(mean, one))
            if chance >= part or min(za, zb) <= np.float32(1e-3):
                continue
            share = min(mean, one) / part
            ax, ay = xy[s, j, 0], xy[s, j, 1]
            dx, dy = xy[s, j + 1, 0] - ax, xy[s, j + 1, 1] - ay
            flat = abs(dx) >= abs(dy)
            steps = max(min(int(np.ceil(max(abs(dx), abs(dy)))), 4 * max(height, columns)), 1)
            layers = max(int(mean + half), 1)
            number = s * count + j
            for step in range(steps):
                if share < one and _scramble(number * 31 + step) >= share:
                    continue
                t = (np.float32(step) + half) / np.float32(steps)
                at = za + (zb - za) * t
                for layer in range(layers):
                    shift = np.float32(layer) - np.float32(layers - 1) * half
                    px = int(np.floor(ax + dx * t + (np.float32(0) if flat else shift)))
                    py = int(np.floor(ay + dy * t + (shift if flat else np.float32(0))))
                    if 0 <= px < columns and 0 <= py < height and at < depth[py, px]:
                        depth[py, px] = at
                        hit[py, px] = number
                        along[py, px] = t
