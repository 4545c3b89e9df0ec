"""Named vertex sets of the head."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from open_head.makehuman import MPFB, FloatArray, IntArray, MakeHumanData
from open_head.topology import HeadTopology

Mask = NDArray[np.bool_]

# Height of the hairline in the template (m) over the azimuth around the head's axis (degrees, 0 = face, 180 = nape).
HAIRLINE_AZIMUTH = (0, 20, 36, 48, 58, 66, 74, 86, 100, 112, 130, 150, 180)
HAIRLINE_HEIGHT = (0.070, 0.069, 0.062, 0.045, 0.026, 0.008, 0.010, 0.012, -0.008, -0.030, -0.048, -0.060, -0.064)
AXIS_Z = -0.005  # m: the vertical axis of that azimuth


def build_regions(
    data: MakeHumanData,
    topology: HeadTopology,
    charts: dict[str, IntArray],
    template: FloatArray,  # [V, 3] metres
    expression: dict[str, FloatArray],  # offsets [V, 3] of single expressions
    root_weight: FloatArray,  # [V] skinning weight of the root joint
) -> dict[str, Mask]:
    """Masks [V]. Face, scalp, ears, neck and shoulders divide the outer skin; the others are parts or lie inside."""
    on_chart = {name: _vertices_of(topology, corners) for name, corners in charts.items()}
    outer = on_chart["head"] | on_chart["shoulders"]
    parts = {name: _mask(topology.vertex_count, ids) for name, ids in topology.parts.items()}
    lips, ears, eyelids, painted_face = (
        _painted(data, topology, charts, name) & outer for name in ("lips", "ears", "eyelids", "face")
    )
    x, y, z = template.T
    scalp = _above_hairline(template) & outer & ~ears & ~painted_face
    face = outer & ~scalp & ~ears & (painted_face | ((z > 0.0) & (y > -0.06)))
    shoulders = outer & (root_weight > 0.5)
    lift = np.linalg.norm(expression["browInnerUp"] + expression["browOuterUpLeft"], axis=1)
    lift = np.maximum(lift, lift[topology.mirror])
    masks = {
        "face": face,
        "scalp": scalp,
        "ears": ears,
        "neck": outer & ~face & ~scalp & ~ears & ~shoulders,
        "shoulders": shoulders,
        "eyelids": eyelids,
        "brows": (lift > 0.55 * lift.max()) & face & (y > 0.012) & (np.abs(x) > 0.008),
        "lips": lips,
        "skull": outer & ~ears & (y > -0.035),
        "eye_sockets": (on_chart["left_socket"] | on_chart["right_socket"]) & ~outer,
        "mouth_interior": (on_chart["mouth"] & ~outer) | parts["tongue"] | parts["teeth"],
        "teeth": parts["teeth"],
        "tongue": parts["tongue"],
    }
    masks = {name: mask | mask[topology.mirror] for name, mask in masks.items()}
    return masks | {name: parts[name] for name in ("left_eye", "right_eye")}


def boundary_loop(faces: IntArray, template: FloatArray) -> IntArray:
    """The longest open boundary, in order, starting at the front and going to the subject's left."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    forward = {(int(a), int(b)) for a, b in edges}
    following = {b: a for a, b in forward if (b, a) not in forward}
    loops = []
    while following:
        start = min(following)
        chain = [start]
        vertex = following.pop(start)
        while vertex != start:
            chain.append(vertex)
            vertex = following.pop(vertex)
        loops.append(chain)
    loop = np.array(max(loops, key=len))
    front = int(np.argmax(np.where(np.abs(template[loop, 0]) < 1e-6, template[loop, 2], -np.inf)))
    loop = np.roll(loop, -front)
    return loop if template[loop[1], 0] > 0 else np.roll(loop[::-1], 1)


def _mask(count: int, vertices: IntArray) -> Mask:
    mask = np.zeros(count, dtype=bool)
    mask[vertices] = True
    return mask


def _vertices_of(topology: HeadTopology, corners: IntArray) -> Mask:
    inside = np.isin(topology.uv_faces, corners)
    return _mask(topology.vertex_count, topology.faces[inside])


def _painted(data: MakeHumanData, topology: HeadTopology, charts: dict[str, IntArray], name: str) -> Mask:
    """Vertices where a mask image in MakeHuman's layout is bright."""
    image = np.asarray(Image.open(io.BytesIO(data.read(f"{MPFB}/textures/mpfb_{name}.jpg"))).convert("L"))
    uvs = topology.makehuman_uvs[charts["head"]]
    x = np.clip(np.round(uvs[:, 0] * (image.shape[1] - 1)).astype(int), 0, image.shape[1] - 1)
    y = np.clip(np.round((1 - uvs[:, 1]) * (image.shape[0] - 1)).astype(int), 0, image.shape[0] - 1)
    bright = charts["head"][image[y, x] > 127]
    return _vertices_of(topology, bright)


def _above_hairline(template: FloatArray) -> Mask:
    azimuth = np.degrees(np.arctan2(np.abs(template[:, 0]), template[:, 2] - AXIS_Z))
    return template[:, 1] > np.interp(azimuth, HAIRLINE_AZIMUTH, HAIRLINE_HEIGHT)
