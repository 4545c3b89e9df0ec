"""Below the head model's edge: neck and bust run on into shoulders and chest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Faces = NDArray[np.int64]

_RINGS = 14
_BOTTOM = -0.55  # metres: far below any picture of a head
_EXPONENT = 0.75  # how squarely shoulders turn down


@dataclass(frozen=True)
class Build:
    """How wide a person is, metres."""

    half_width: float  # of the shoulders
    half_depth: float  # of the chest
    slope: float  # metres that the shoulders fall from the neck to their end


def random_build(male: float, heavy: float, generator: np.random.Generator) -> Build:
    """Shoulders of women and men; the numbers were chosen by eye."""
    width = 0.195 + 0.04 * male + 0.007 * heavy + generator.normal(0, 0.01)
    depth = 0.115 + 0.015 * male + 0.012 * heavy + generator.normal(0, 0.006)
    return Build(float(width), float(depth), float(generator.uniform(0.02, 0.07)))


def torso(vertices: Array, collar: NDArray[np.int64], build: Build) -> tuple[Array, Faces]:
    """Vertices and faces of a skirt that hangs on the bust's edge; its first ring repeats the edge.

    vertices: [V, 3] of the head. collar: [R] the edge's loop, from the front to the subject's left.
    """
    edge = vertices[collar]
    centre = np.array([0.0, edge[:, 2].mean() * 0.6 + 0.4 * (edge[:, 2].min() + edge[:, 2].max()) / 2])
    flat = edge[:, [0, 2]] - centre
    turn = np.arctan2(flat[:, 0], flat[:, 1])
    goal = centre + _superellipse(turn, build.half_width, build.half_depth)
    floor = edge[:, 1].min() - build.slope
    rings = [edge]
    for step in np.linspace(0, 1, _RINGS + 1)[1:]:
        out = min(step * 2.2, 1.0)
        across = np.sin(out * np.pi / 2) ** _EXPONENT
        down = 1 - np.cos(out * np.pi / 2)
        ground = edge[:, [0, 2]] + (goal - edge[:, [0, 2]]) * across
        height = edge[:, 1] + (floor - edge[:, 1]) * down + max(step - 1 / 2.2, 0) / (1 - 1 / 2.2) * (_BOTTOM - floor)
        rings.append(np.column_stack([ground[:, 0], height, ground[:, 1]]))
    return np.concatenate(rings), _strip_faces(len(rings), len(collar))


def _superellipse(turn: Array, half_width: float, half_depth: float, power: float = 2.6) -> Array:
    """[R, 2] x and z."""
    c, s = np.sin(turn), np.cos(turn)
    radius = (np.abs(c / half_width) ** power + np.abs(s / half_depth) ** power) ** (-1 / power)
    return np.column_stack([radius * c, radius * s])


def _strip_faces(rings: int, around: int) -> Faces:
    """Triangles between closed rings, counter-clockwise from outside when rings go down and run from front to left."""
    a = np.arange(around)
    b = (a + 1) % around
    quads = []
    for ring in range(rings - 1):
        upper, lower = ring * around, (ring + 1) * around
        quads += [np.stack([upper + a, lower + a, lower + b], -1), np.stack([upper + a, lower + b, upper + b], -1)]
    return np.concatenate(quads)


def clipped(vertices: Array, faces: Faces, field: Array) -> tuple[Array, Faces]:
    """The part of a mesh where a field [V] over its vertices is negative, cut along the zero of its interpolation."""
    inside = field < 0
    count = inside[faces].sum(1)
    kept = [faces[count == 3]]
    points, total = [vertices], len(vertices)
    for wanted in (1, 2):  # corners inside
        part = faces[count == wanted]
        lone = (inside[part] == (wanted == 1)).argmax(1)
        a, b, c = (part[np.arange(len(part)), (lone + k) % 3] for k in range(3))
        cuts = []
        for other in (b, c):
            share = (field[a] / (field[a] - field[other]))[:, None]
            points.append(vertices[a] + share * (vertices[other] - vertices[a]))
            cuts.append(total + np.arange(len(part)))
            total += len(part)
        if wanted == 1:
            kept.append(np.stack([a, cuts[0], cuts[1]], -1))
        else:
            kept += [np.stack([cuts[0], b, c], -1), np.stack([cuts[0], c, cuts[1]], -1)]
    return compact(np.concatenate(points), np.concatenate(kept))


def compact(vertices: Array, faces: Faces) -> tuple[Array, Faces]:
    """Only the vertices that are used."""
    used, renumbered = np.unique(faces, return_inverse=True)
    return vertices[used], renumbered.reshape(faces.shape)
