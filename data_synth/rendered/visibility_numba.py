"""`visibility`'s two loops compiled for the CPU by numba, an optional library."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.data_synth.rendered.visibility import LEAST_STRANDS, NEAR
from gen3dface.errors import MissingExtraError

try:
    from numba import njit
except ImportError as error:
    raise MissingExtraError("numba is not installed: pip install 'gen3dface[synth]'.") from error


def draw_triangles(vertices: Tensor, faces: Tensor, camera: Cameras) -> tuple[Tensor, Tensor]:
    """As `visibility.draw_triangles`."""
    xy, z = _project(vertices.numpy(), _matrix(camera))
    depth = np.full((camera.height, camera.width), np.inf, np.float32)
    face = np.full(depth.shape, -1, np.int64)
    _triangle_loop(xy, z, faces.numpy(), depth, face)
    return torch.from_numpy(depth), torch.from_numpy(face)


def draw_strands(points: Tensor, width: Tensor, depth: Tensor, camera: Cameras) -> tuple[Tensor, Tensor, Tensor]:
    """As `visibility.draw_strands`."""
    nearest = depth.numpy().copy()
    hit = np.full(nearest.shape, -1, np.int64)
    along = np.zeros(nearest.shape, np.float32)
    matrix, focal = _matrix(camera), np.float32(camera.intrinsics[0, 0, 0])
    _strand_loop(points.numpy(), width.numpy(), matrix, focal, nearest, hit, along)
    return torch.from_numpy(nearest), torch.from_numpy(hit), torch.from_numpy(along)


def _matrix(camera: Cameras) -> np.ndarray:
    """[3, 4] world to homogeneous pixels."""
    matrix: np.ndarray = (camera.intrinsics[0] @ camera.world_to_camera[0, :3]).numpy()
    return matrix


@njit(cache=True, nogil=True)
def _project(points: Any, matrix: Any) -> tuple[Any, Any]:
    """Pixels [P, 2] and depths [P] of points [P, 3]."""
    xy, z = np.empty((len(points), 2), np.float32), np.empty(len(points), np.float32)
    for i in range(len(points)):
        xy[i, 0], xy[i, 1], z[i] = _pixel(points[i, 0], points[i, 1], points[i, 2], matrix)
    return xy, z


@njit(cache=True, nogil=True, inline="always")
def _pixel(px: Any, py: Any, pz: Any, matrix: Any) -> tuple[float, float, float]:
    x = matrix[0, 0] * px + matrix[0, 1] * py + matrix[0, 2] * pz + matrix[0, 3]
    y = matrix[1, 0] * px + matrix[1, 1] * py + matrix[1, 2] * pz + matrix[1, 3]
    z = matrix[2, 0] * px + matrix[2, 1] * py + matrix[2, 2] * pz + matrix[2, 3]
    return x / z, y / z, z


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
        if min(za, zb, zc) <= np.float32(NEAR):
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
def _strand_loop(points: Any, width: Any, matrix: Any, focal: Any, depth: Any, hit: Any, along: Any) -> None:
    count = points.shape[1]
    half, one = np.float32(0.5), np.float32(1)
    least, near = np.float32(LEAST_STRANDS), np.float32(NEAR)
    for s in range(points.shape[0]):
        bx, by, zb = _pixel(points[s, 0, 0], points[s, 0, 1], points[s, 0, 2], matrix)
        whole = min(np.float32(width[s].mean()) * focal / zb, one)
        part = max(least, whole)
        if _scramble(s) >= part:
            continue
        wide_b = width[s, 0] * focal / zb
        for j in range(count - 1):
            ax, ay, za, wide_a = bx, by, zb, wide_b
            bx, by, zb = _pixel(points[s, j + 1, 0], points[s, j + 1, 1], points[s, j + 1, 2], matrix)
            wide_b = width[s, j + 1] * focal / zb
            mean = (wide_a + wide_b) * half
            if min(za, zb) > near:
                share, number = whole / part, s * count + j
                _segment(ax, ay, za, bx - ax, by - ay, zb - za, mean, share, number, depth, hit, along)


@njit(cache=True, nogil=True)
def _segment(
    ax: Any, ay: Any, az: Any, dx: Any, dy: Any, dz: Any, mean: Any, share: Any, number: int,
    depth: Any, hit: Any, along: Any,
) -> None:  # fmt: skip
    height, columns = depth.shape
    half = np.float32(0.5)
    flat = abs(dx) >= abs(dy)
    steps = max(min(int(np.ceil(max(abs(dx), abs(dy)))), 4 * max(height, columns)), 1)
    layers = max(int(mean + half), 1)
    for step in range(steps):
        if share < np.float32(1) and _scramble(number * 31 + step) >= share:
            continue
        t = (np.float32(step) + half) / np.float32(steps)
        at = az + dz * t
        for layer in range(layers):
            shift = np.float32(layer) - np.float32(layers - 1) * half
            column = int(np.floor(ax + dx * t + (np.float32(0) if flat else shift)))
            row = int(np.floor(ay + dy * t + (shift if flat else np.float32(0))))
            if 0 <= column < columns and 0 <= row < height and at < depth[row, column]:
                depth[row, column] = at
                hit[row, column] = number
                along[row, column] = t
