"""The head's mesh as a linear function of MakeHuman's base vertices.

The bust is cut out of the body by a sphere around the head's centre, so that it ends in a clean rounded collar inside
the 0.4 m volume; quads on the border are clipped exactly and their new corners interpolate two base vertices.
Eyeballs are own spheres whose centre and radius follow MakeHuman's eye helpers.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from open_head.makehuman import FloatArray, IntArray, MakeHumanData

HEAD_CENTRE = np.array([0.0, 7.28, 0.32])  # dm, base mesh frame: the middle of the cutting sphere
METRES = 0.102  # a MakeHuman unit: a decimetre, and 2 % because its heads are small against the surveys of adults
CUT_RADIUS = 2.12  # dm
CUT_SNAP = 0.03  # dm: vertices this near the cut count as lying on it, which avoids slivers

EYE_SEGMENTS = 20
# Degrees from the gaze axis; the fourth ring is the iris' rim (5.9 mm on a ball of 15 mm radius).
EYE_RINGS = (7.0, 13.0, 18.5, 23.2, 29.0, 37.0, 48.0, 62.0, 78.0, 95.0, 115.0, 140.0)
IRIS_RING = 3

BODY_PARTS = {"body": "skin", "helper-tongue": "tongue", "helper-upper-teeth": "teeth", "helper-lower-teeth": "teeth"}


@dataclass(frozen=True)
class EyeFrame:
    """How one eyeball follows its helper: centre = mean, radius = mean distance along rest directions."""

    helper: IntArray  # [72] base vertices
    rest_directions: FloatArray  # [72, 3]
    sphere: FloatArray  # [E, 3] unit directions of the new eyeball


@dataclass(frozen=True)
class HeadTopology:
    """Faces, texture corners and the linear map from base vertices to head vertices."""

    sources: IntArray  # [S, 2] base vertices that a skin/tongue/teeth vertex blends
    blend: FloatArray  # [S] weight of the second source
    eyes: tuple[EyeFrame, EyeFrame]  # left, right
    faces: IntArray  # [F, 3]
    uv_faces: IntArray  # [F, 3]
    makehuman_uvs: FloatArray  # [T, 2]; NaN for eyeballs, which are no part of MakeHuman's layout
    parts: dict[str, IntArray]  # vertices of skin, tongue, teeth, left_eye, right_eye
    mirror: IntArray  # [V]

    @property
    def vertex_count(self) -> int:
        return len(self.mirror)

    def evaluate(self, base: FloatArray) -> FloatArray:
        """Maps base vertices or base offsets [..., 19158, 3] linearly to the head's [..., V, 3]."""
        a, b = base[..., self.sources[:, 0], :], base[..., self.sources[:, 1], :]
        pieces = [a + (b - a) * self.blend[:, None]]
        for eye in self.eyes:
            points = base[..., eye.helper, :]
            centre = points.mean(-2, keepdims=True)
            radius = ((points - centre) * eye.rest_directions).sum(-1).mean(-1)
            pieces.append(centre + radius[..., None, None] * eye.sphere)
        return np.concatenate(pieces, axis=-2)


class _Corners:
    """Numbers corners by key: a base index, or an edge (a, b, t) cut at t from a."""

    def __init__(self) -> None:
        self.index: dict[Hashable, int] = {}
        self.rows: list[tuple[int, int, float]] = []

    def add(self, a: int, b: int, t: float) -> int:
        key: Hashable = a if a == b else (min(a, b), max(a, b))
        if key not in self.index:
            self.index[key] = len(self.rows)
            self.rows.append((a, b, t))
        return self.index[key]


Corner = tuple[int, int, float]  # positions within the quad and the blend between them


def clip_quad(signed: FloatArray) -> list[Corner]:
    """Sutherland-Hodgman: corners of the part of a quad where ``signed`` [4] <= 0."""
    out: list[Corner] = []
    for i in range(4):
        j = (i + 1) % 4
        if signed[i] <= 0:
            out.append((i, i, 0.0))
        if signed[i] * signed[j] < 0:
            out.append((i, j, float(signed[i] / (signed[i] - signed[j]))))
    return out if len(out) >= 3 else []


def split_polygon(points: FloatArray) -> list[tuple[int, int, int]]:
    """Triangles of a convex polygon [n, 3]: the shorter diagonal of a quad, a fan otherwise."""
    n = len(points)
    if n == 4 and np.linalg.norm(points[1] - points[3]) < np.linalg.norm(points[0] - points[2]):
        return [(0, 1, 3), (1, 2, 3)]
    return [(0, i, i + 1) for i in range(1, n - 1)]


def build_topology(data: MakeHumanData) -> HeadTopology:
    """Cuts the bust, keeps tongue and teeth, and adds the eyeballs."""
    base = data.base
    signed = np.linalg.norm(base.vertices - HEAD_CENTRE, axis=1) - CUT_RADIUS
    signed[np.abs(signed) < CUT_SNAP] = 0.0
    partner = _mirrored_quads(data)
    vertices, corners = _Corners(), _Corners()
    faces: list[list[int]] = []
    uv_faces: list[list[int]] = []
    part_of: dict[int, str] = {}
    for group, part in BODY_PARTS.items():
        for quad in np.flatnonzero(base.groups == group):
            ids = base.quads[quad]
            if base.vertices[ids, 0].mean() < 0:
                continue  # the right side is written as the left side's mirror image below
            polygon = clip_quad(signed[ids])
            if not polygon:
                continue
            points = np.array([(1 - t) * base.vertices[ids[i]] + t * base.vertices[ids[j]] for i, j, t in polygon])
            for flipped in (False, True):
                q, match = partner[int(quad)] if flipped else (quad, np.arange(4))
                vids, uids = base.quads[q], base.quad_uvs[q]
                v = [vertices.add(int(vids[match[i]]), int(vids[match[j]]), t) for i, j, t in polygon]
                u = [corners.add(int(uids[match[i]]), int(uids[match[j]]), t) for i, j, t in polygon]
                part_of.update(dict.fromkeys(v, part))
                for a, b, c in split_polygon(points):
                    order = (a, c, b) if flipped else (a, b, c)
                    faces.append([v[k] for k in order])
                    uv_faces.append([u[k] for k in order])
    return _assemble(data, vertices, corners, faces, uv_faces, part_of)


def _mirrored_quads(data: MakeHumanData) -> dict[int, tuple[int, IntArray]]:
    """For each quad its mirror image, and which of its corners mirrors each corner."""
    by_vertices = {frozenset(q.tolist()): i for i, q in enumerate(data.base.quads)}
    partner = {}
    for i, quad in enumerate(data.base.quads):
        mirrored = data.mirror[quad]
        j = by_vertices.get(frozenset(mirrored.tolist()))
        if j is not None:
            other = data.base.quads[j].tolist()
            partner[i] = (j, np.array([other.index(v) for v in mirrored]))
    return partner


def _assemble(
    data: MakeHumanData,
    vertices: _Corners,
    corners: _Corners,
    faces: list[list[int]],
    uv_faces: list[list[int]],
    part_of: dict[int, str],
) -> HeadTopology:
    rows = vertices.rows
    sources = np.array([[a, b] for a, b, _ in rows])
    blend = np.array([t for *_, t in rows])
    mirror = np.array([_mirror_corner(vertices, data.mirror, a, b) for a, b, _ in rows])
    uvs = np.array([(1 - t) * data.base.uvs[a] + t * data.base.uvs[b] for a, b, t in corners.rows])
    labels = np.array([part_of[i] for i in range(len(rows))])
    parts = {name: np.flatnonzero(labels == name) for name in ("skin", "tongue", "teeth")}
    sphere, sphere_faces, sphere_uv_faces = eye_sphere()
    count, uv_count = len(sphere), int(sphere_uv_faces.max()) + 1
    frames = []
    all_faces, all_uv_faces = [np.array(faces)], [np.array(uv_faces)]
    for k, side in enumerate(("l", "r")):
        helper = data.vertex_groups[f"helper-{side}-eye"]
        flip = np.array([1.0 if side == "l" else -1.0, 1.0, 1.0])
        rest = data.base.vertices[helper]
        rest = rest - rest.mean(0)
        frames.append(EyeFrame(helper, rest / np.linalg.norm(rest, axis=1, keepdims=True), sphere * flip))
        order = [0, 1, 2] if side == "l" else [0, 2, 1]
        all_faces.append(sphere_faces[:, order] + len(rows) + k * count)
        all_uv_faces.append(sphere_uv_faces[:, order] + len(uvs) + k * uv_count)
        parts["left_eye" if side == "l" else "right_eye"] = np.arange(count) + len(rows) + k * count
    swap = np.concatenate([parts["right_eye"], parts["left_eye"]])
    return HeadTopology(
        sources=sources,
        blend=blend,
        eyes=(frames[0], frames[1]),
        faces=np.concatenate(all_faces),
        uv_faces=np.concatenate(all_uv_faces),
        makehuman_uvs=np.concatenate([uvs, np.full((2 * uv_count, 2), np.nan)]),
        parts=parts,
        mirror=np.concatenate([mirror, swap]),
    )


def _mirror_corner(vertices: _Corners, mirror: IntArray, a: int, b: int) -> int:
    p, q = int(mirror[a]), int(mirror[b])
    return vertices.index[p if p == q else (min(p, q), max(p, q))]


def eye_sphere() -> tuple[FloatArray, IntArray, IntArray]:
    """Unit sphere around the gaze axis +z: points, faces (counter-clockwise from outside) and texture faces.

    Points are the front pole, the rings and the back pole; texture corners are those of `eye_corners`.
    """
    polar, turn = (np.radians(x) if k == 0 else x for k, x in enumerate(eye_corners()))
    points = np.stack([np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)], -1)
    last = 1 + len(EYE_RINGS) * EYE_SEGMENTS
    uv_faces = []
    for s in range(EYE_SEGMENTS):
        t = (s + 1) % EYE_SEGMENTS
        uv_faces.append([0, 1 + s, 1 + t])
        for r in range(len(EYE_RINGS) - 1):
            a, b = 1 + r * EYE_SEGMENTS, 1 + (r + 1) * EYE_SEGMENTS
            uv_faces += [[a + s, b + s, b + t], [a + s, b + t, a + t]]
        b = 1 + (len(EYE_RINGS) - 1) * EYE_SEGMENTS
        uv_faces.append([b + s, last + s, b + t])
    return points[: last + 1], np.minimum(uv_faces, last), np.array(uv_faces)


def eye_corners() -> tuple[FloatArray, FloatArray]:
    """Angle from the gaze axis (degrees) and turn about it (radians) of an eyeball's texture corners.

    The front pole, the rings, then the back pole once for every segment, so that its fan does not fold.
    """
    turn = 2 * np.pi * np.arange(EYE_SEGMENTS) / EYE_SEGMENTS
    polar = np.concatenate([[0.0], np.repeat(EYE_RINGS, EYE_SEGMENTS), np.full(EYE_SEGMENTS, 180.0)])
    between = turn + np.pi / EYE_SEGMENTS
    return polar, np.concatenate([[0.0], np.tile(turn, len(EYE_RINGS)), between])
