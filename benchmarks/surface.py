"""Distances from points to a triangle mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]
CANDIDATES = 24  # triangles with the nearest centroids that are tested for each point


@dataclass(frozen=True)
class Closest:
    """For N points: the nearest surface points, their triangles and barycentric weights."""

    points: Array  # [N, 3]
    faces: NDArray[np.int64]  # [N]
    weights: Array  # [N, 3]
    distances: Array  # [N]


class Surface:
    """A mesh that answers nearest-point queries; vertices [V, 3], faces [F, 3]."""

    def __init__(self, vertices: Array, faces: NDArray[np.int64]) -> None:
        self.corners = np.asarray(vertices, np.float64)[faces]  # [F, 3, 3]
        self._tree = cKDTree(self.corners.mean(1))

    def closest(self, points: Array) -> Closest:
        """The nearest of the surface points of the CANDIDATES triangles around each point."""
        count = min(CANDIDATES, len(self.corners))
        _, near = self._tree.query(points, k=count)
        near = np.asarray(near).reshape(len(points), count)
        weights = closest_weights(points[:, None], self.corners[near])
        found = (weights[..., None] * self.corners[near]).sum(-2)
        squared = ((found - points[:, None]) ** 2).sum(-1)
        best = squared.argmin(1)
        row = np.arange(len(points))
        return Closest(found[row, best], near[row, best], weights[row, best], np.sqrt(squared[row, best]))


def closest_weights(points: Array, triangles: Array) -> Array:
    """Barycentric weights [.., 3] of the point of each triangle [.., 3, 3] nearest to points [.., 3].

    The foot of the perpendicular where it falls inside, else the nearest point of the three edges.
    """
    a, b, c = np.moveaxis(triangles, -2, 0)
    inside = _plane_weights(points, a, b, c)
    edges = [_edge_weights(points, triangles, i, j) for i, j in ((0, 1), (1, 2), (2, 0))]
    stacked = np.stack(edges, -2)  # [.., 3 edges, 3]
    feet = (stacked[..., None] * triangles[..., None, :, :]).sum(-2)
    nearest = ((feet - points[..., None, :]) ** 2).sum(-1).argmin(-1)
    on_edge = np.take_along_axis(stacked, nearest[..., None, None], -2)[..., 0, :]
    return np.where((inside >= 0).all(-1, keepdims=True), inside, on_edge)


def _plane_weights(points: Array, a: Array, b: Array, c: Array) -> Array:
    u, v, w = b - a, c - a, points - a
    uu, uv, vv = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    wu, wv = (w * u).sum(-1), (w * v).sum(-1)
    area = np.maximum(uu * vv - uv * uv, 1e-300)
    beta, gamma = (vv * wu - uv * wv) / area, (uu * wv - uv * wu) / area
    return np.stack([1 - beta - gamma, beta, gamma], -1)


def _edge_weights(points: Array, triangles: Array, i: int, j: int) -> Array:
    start, along = triangles[..., i, :], triangles[..., j, :] - triangles[..., i, :]
    share = ((points - start) * along).sum(-1) / np.maximum((along * along).sum(-1), 1e-300)
    share = np.clip(share, 0, 1)
    out = np.zeros((*share.shape, 3))
    out[..., i], out[..., j] = 1 - share, share
    return out
