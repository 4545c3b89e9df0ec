"""What a mesh lacks and a head model needs: texture coordinates, left and right, the edge at the bottom."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import xatlas
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def mirror_vertices(template: Floats) -> Indices:
    """[V]: the vertex nearest to each one's place on the other side of x = 0."""
    return cKDTree(template).query(template * np.array([-1.0, 1.0, 1.0]))[1].astype(np.int64)


def unwrapped_uvs(template: Floats, faces: Indices) -> tuple[Floats, Indices]:
    """Texture coordinates without overlaps (xatlas): uvs [T, 2] in 0..1, uv_faces [F, 3]; seconds for 10,000 triangles.

    A mesh that xatlas cannot cut gets `cylindrical_uvs`.
    """
    vertices, corners, uvs = xatlas.parametrize(template.astype(np.float32), faces.astype(np.uint32))
    if not np.array_equal(vertices[corners], faces):
        return cylindrical_uvs(template, faces)
    return uvs.astype(np.float64), corners.astype(np.int64)


def cylindrical_uvs(template: Floats, faces: Indices) -> tuple[Floats, Indices]:
    """Texture coordinates from the direction round the y axis and the height: uvs [T, 2] in 0..1, uv_faces [F, 3].

    The seam runs down the back, where vertices count twice. Parts that lie behind each other share their texels.
    """
    u = 0.5 + np.arctan2(template[:, 0], template[:, 2]) / (2 * np.pi)
    height = template[:, 1] - template[:, 1].min()
    v = height / max(float(height.max()), 1e-12)
    corners = u[faces]
    beyond = (corners < 0.5) & (corners.max(1, keepdims=True) - corners.min(1, keepdims=True) > 0.5)
    again, place = np.unique(faces[beyond], return_inverse=True)
    uv_faces = faces.copy()
    uv_faces[beyond] = len(template) + place
    uvs = np.stack([np.concatenate([u, u[again] + 1]), np.concatenate([v, v[again]])], 1)
    uvs[:, 0] /= max(float(uvs[:, 0].max()), 1.0)
    return uvs, uv_faces


def lowest_loop(template: Floats, faces: Indices) -> Indices:
    """[R]: the boundary loop that lies lowest, from the front to the subject's left; empty where the mesh is closed."""
    loops = boundary_loops(faces)
    if not loops:
        return np.zeros(0, np.int64)
    loop = min(loops, key=lambda loop: float(template[loop, 1].mean()))
    loop = np.roll(loop, -int(template[loop, 2].argmax()))
    to_the_left = template[loop[1 : 1 + len(loop) // 2], 0].sum() >= template[loop[1 + len(loop) // 2 :], 0].sum()
    return loop if to_the_left else np.roll(loop[::-1], 1)


def boundary_loops(faces: Indices) -> list[Indices]:
    """Closed walks along the edges that belong to one triangle, against the triangles' own sense."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    _, which, count = np.unique(np.sort(edges, 1), axis=0, return_inverse=True, return_counts=True)
    onward: dict[int, list[int]] = defaultdict(list)
    for start, end in edges[count[which.ravel()] == 1].tolist():
        onward[end].append(start)
    loops = []
    while onward:
        loop = [next(iter(onward))]
        while loop[-1] in onward:
            ends = onward[loop[-1]]
            step = ends.pop()
            if not ends:
                del onward[loop[-1]]
            if step == loop[0]:
                loops.append(np.array(loop, np.int64))
                break
            loop.append(step)
    return loops
