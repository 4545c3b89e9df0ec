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
        corners = self.corners[near]
        weights = closest_weights(points[:, None], corners)
        found = np.einsum("nkc,nkcd->nkd", weights, corners)
        squared = ((found - points[:, None]) ** 2).sum(-1)
        best = squared.argmin(1)
        row = np.arange(len(points))
        return Closest(found[row, best], near[row, best], weights[row, best], np.sqrt(squared[row, best]))


def closest_weights(points: Array, triangles: Array) -> Array:
    """Barycentric weights [.., 3] of the point of each triangle [.., 3, 3] nearest to points [.., 3].

    The foot of the perpendicular where it falls inside, else the nearest point of the three edges.
    """
    a = triangles[..., 0, :]
    u, v, w = triangles[..., 1, :] - a, triangles[..., 2, :] - a, points - a
    uu, uv, vv, wu, wv = (np.einsum("...i,...i->...", x, y) for x, y in ((u, u), (u, v), (v, v), (w, u), (w, v)))
    area = np.maximum(uu * vv - uv * uv, 1e-300)
    plane = np.stack([vv * wu - uv * wv, uu * wv - uv * wu]) / area
    none, across = np.zeros_like(uu), _share(wv - wu - uv + uu, uu - 2 * uv + vv)
    edges = np.array([[_share(wu, uu), none], [none, _share(wv, vv)], [1 - across, across]])  # [3, 2, ..]
    beta, gamma = edges[:, 0], edges[:, 1]
    cost = beta**2 * uu + 2 * beta * gamma * uv + gamma**2 * vv - 2 * (beta * wu + gamma * wv)
    nearest = np.take_along_axis(edges, cost.argmin(0)[None, None], 0)[0]
    inside = (plane >= 0).all(0) & (plane.sum(0) <= 1)
    beta, gamma = np.where(inside, plane, nearest)
    return np.stack([1 - beta - gamma, beta, gamma], -1)


def _share(part: Array, whole: Array) -> Array:
    return np.clip(part / np.maximum(whole, 1e-300), 0, 1)
