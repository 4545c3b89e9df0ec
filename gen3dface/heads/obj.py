"""Wavefront OBJ files: points, texture coordinates and polygons, nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dface.errors import HeadModelError

MOST_BYTES = 256 << 20


@dataclass(frozen=True)
class ObjMesh:
    """Triangles; polygons were split into fans from their first corner."""

    vertices: NDArray[np.float64]  # [V, 3] in the file's unit and order
    faces: NDArray[np.int64]  # [F, 3]
    uvs: NDArray[np.float64]  # [T, 2] in 0..1, v up; T may be 0
    uv_faces: NDArray[np.int64] | None  # [F, 3], None where a polygon has no texture coordinates


def read_obj(path: Path) -> ObjMesh:
    """A mesh of an OBJ file, every vertex kept.

    Raises:
        HeadModelError: the file cannot be read, is too large, or is no such mesh.
    """
    lines = _lines(path)
    try:
        vertices = _numbers(lines, b"v ", 3)
        uvs = _numbers(lines, b"vt ", 2)
        faces, uv_faces = _triangles([line for line in lines if line.startswith(b"f ")], len(vertices), len(uvs))
    except (ValueError, IndexError, OverflowError) as error:
        raise HeadModelError(f"'{path}' is damaged, or no OBJ file: {error}.") from error
    if not len(vertices):
        raise HeadModelError(f"'{path}' holds no vertices.")
    return ObjMesh(vertices, faces, uvs, uv_faces)


def read_obj_vertices(path: Path) -> NDArray[np.float64]:
    """`read_obj(path).vertices` alone, faster."""
    try:
        return _numbers(_lines(path), b"v ", 3)
    except (ValueError, IndexError) as error:
        raise HeadModelError(f"'{path}' is damaged, or no OBJ file: {error}.") from error


def _lines(path: Path) -> list[bytes]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise HeadModelError(f"'{path}' is larger than {MOST_BYTES >> 20} MiB.")
        return path.read_bytes().splitlines()
    except OSError as error:
        raise HeadModelError(f"'{path}' cannot be read: {error.strerror or error}.") from error


def _numbers(lines: list[bytes], start: bytes, count: int) -> NDArray[np.float64]:
    """The first `count` numbers of the lines that begin with `start`, [N, count]."""
    rows = [line.split()[1 : 1 + count] for line in lines if line.startswith(start)]
    values = np.array(rows, dtype=np.float64).reshape(len(rows), count)
    if not np.isfinite(values).all():
        raise ValueError("it holds numbers that are not finite")
    return values


def _triangles(lines: list[bytes], vertices: int, uvs: int) -> tuple[NDArray[Any], NDArray[Any] | None]:
    corners: list[tuple[int, int]] = []  # (vertex, texture coordinate or -1) of each triangle's corners in turn
    for line in lines:
        polygon = [_corner(word, vertices, uvs) for word in line.split()[1:]]
        for second, third in pairwise(polygon[1:]):
            corners += [polygon[0], second, third]
    table = np.array(corners, np.int64).reshape(-1, 3, 2)
    whole = bool((table[..., 1] >= 0).all()) and uvs > 0
    return table[..., 0], table[..., 1] if whole else None


def _corner(word: bytes, vertices: int, uvs: int) -> tuple[int, int]:
    """`v`, `v/t`, `v//n` or `v/t/n`, counted from 1, or from the end where negative."""
    parts = word.split(b"/")
    vertex = _counted(int(parts[0]), vertices)
    return vertex, _counted(int(parts[1]), uvs) if len(parts) > 1 and parts[1] else -1


def _counted(number: int, count: int) -> int:
    place = number - 1 if number > 0 else count + number
    if not 0 <= place < count:
        raise IndexError(f"a polygon's corner {number} of {count} is not there")
    return place
