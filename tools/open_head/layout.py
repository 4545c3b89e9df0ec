"""Texture layout: MakeHuman's head charts moved to fill the unit square, with more room for the face.

MakeHuman's body layout gives the whole head an eighth of the image. Here the head's chart takes the upper two thirds,
turned upright (u toward the subject's left) and stretched around the face by one monotone curve in each direction, so
it stays free of folds. The other charts are scaled and placed below; each eyeball has a square tile.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from open_head.makehuman import FloatArray, IntArray
from open_head.topology import HeadTopology, eye_corners

Box = tuple[float, float, float, float]  # u0, v0, u1, v1

MARGIN = 0.006
HEAD_BOX: Box = (0.0, 0.335, 1.0, 1.0)
BOXES: dict[str, Box] = {
    "shoulders": (0.0, 0.0, 0.58, 0.33),
    "left_eye": (0.79, 0.13, 0.99, 0.33),
    "right_eye": (0.58, 0.13, 0.78, 0.33),
    "mouth": (0.58, 0.0, 0.74, 0.125),
    "left_socket": (0.81, 0.0, 0.87, 0.08),
    "right_socket": (0.745, 0.0, 0.805, 0.08),
    "tongue": (0.88, 0.0, 0.925, 0.085),
    "upper_teeth": (0.745, 0.085, 0.87, 0.125),
    "lower_teeth": (0.875, 0.085, 1.0, 0.125),
}
# Strength of the stretch and the face's centre in the upright head chart, both in -1..1 of its box.
FACE_STRETCH = (1.15, 0.95)
FACE_CENTRE = (0.0, -0.05)
EYE_RADIAL_POWER = 0.7  # < 1 gives the iris more of its tile than the back of the ball


def find_charts(topology: HeadTopology, vertices: FloatArray) -> dict[str, IntArray]:
    """Texture corners of each chart by name, told apart by part and place."""
    count = len(topology.makehuman_uvs)
    f = topology.uv_faces
    graph = coo_matrix((np.ones(f.size), (f.ravel(), f[:, [1, 2, 0]].ravel())), shape=(count, count))
    number, label = connected_components(graph, directed=False)
    vertex_of = np.empty(count, dtype=np.int64)
    vertex_of[f.ravel()] = topology.faces.ravel()
    charts: dict[str, IntArray] = {}
    for chart in range(number):
        corners = np.flatnonzero(label == chart)
        name = _chart_name(topology, vertices[vertex_of[corners]], set(vertex_of[corners].tolist()))
        charts[name] = corners
    return charts


def _chart_name(topology: HeadTopology, points: FloatArray, vertices: set[int]) -> str:
    for part in ("tongue", "left_eye", "right_eye"):
        if vertices <= set(topology.parts[part].tolist()):
            return part
    if vertices <= set(topology.parts["teeth"].tolist()):
        return "upper_teeth" if points[:, 1].mean() > -0.068 else "lower_teeth"
    if points[:, 1].max() > 0.1:
        return "head"
    if points[:, 1].min() < -0.15:
        return "shoulders"
    if abs(points[:, 0].mean()) < 0.005:
        return "mouth"
    return "left_socket" if points[:, 0].mean() > 0 else "right_socket"


def pack(topology: HeadTopology, charts: dict[str, IntArray]) -> FloatArray:
    """New texture coordinates [T, 2] in 0..1, v up."""
    uvs = np.empty_like(topology.makehuman_uvs)
    old = topology.makehuman_uvs
    for name, corners in charts.items():
        if name == "head":
            uvs[corners] = _fill(_stretch(_unit(np.stack([old[corners, 1], -old[corners, 0]], -1))), HEAD_BOX)
        elif name in ("left_eye", "right_eye"):
            uvs[corners] = _fill(eye_tile(mirrored=name == "right_eye"), BOXES[name])
        else:
            uvs[corners] = _fill(_unit(old[corners]), BOXES[name])
    return uvs


def _unit(points: FloatArray) -> FloatArray:
    """Scales the bounding box to -1..1."""
    low, high = points.min(0), points.max(0)
    return (2 * points - low - high) / (high - low)


def _stretch(points: FloatArray) -> FloatArray:
    """Expands around the face's centre: t -> tanh(a (t - c)), rescaled to -1..1."""
    a, c = np.array(FACE_STRETCH), np.array(FACE_CENTRE)
    low, high = np.tanh(a * (-1 - c)), np.tanh(a * (1 - c))
    return (2 * np.tanh(a * (points - c)) - low - high) / (high - low)


def _fill(points: FloatArray, box: Box) -> FloatArray:
    low, high = np.array(box[:2]) + MARGIN, np.array(box[2:]) - MARGIN
    return low + (points + 1) / 2 * (high - low)


def eye_tile(mirrored: bool) -> FloatArray:
    """Azimuthal layout of an eyeball in -1..1: the pupil in the middle, the back pole at the rim."""
    polar, turn = eye_corners()
    radius = (polar / 180.0) ** EYE_RADIAL_POWER
    flip = -1.0 if mirrored else 1.0
    return np.stack([flip * radius * np.cos(turn), radius * np.sin(turn)], -1)
