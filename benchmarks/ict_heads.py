"""ICT-FaceKit Light as a HeadModel: heads of another topology to measure estimators with; no part of the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen3dface.heads import HeadModel
from gen3dface.photo.landmarks import BLENDSHAPE_NAMES

# Vertex ranges of the published topology: first, one past the last.
FACE = (0, 9409)
SKIN = (0, 11248)  # face, scalp, ears, neck
EYEBALLS = {"left_eye": (21451, 23021), "right_eye": (23021, 24591)}
MOUTH_INTERIOR = (11248, 13294)
GUMS, TEETH = (14062, 17039), (17039, 21451)
_CENTIMETRE = 0.01
# Cards and films that a plain renderer cannot show: lacrimal fluid, blends, occlusion, lashes.
_LAST_SOLID = 24591
_IRIS = slice(468, 478)  # the file places these on the lids


def load_ict(path: Path) -> HeadModel:
    """Read `ict_facekit_light.npz` (see the benchmark's documentation for its keys), in metres, origin in the head."""
    with np.load(path, allow_pickle=False) as archive:
        data = dict(archive)
    template = data["vertices"] * _CENTIMETRE
    origin = template[slice(*EYEBALLS["left_eye"])].mean(0) + template[slice(*EYEBALLS["right_eye"])].mean(0)
    origin = origin / 2 - np.array([0, 0.02, 0.06])  # about the middle of the skull
    identity = data["identity_int8"] * (data["identity_scale"] * _CENTIMETRE)[:, None, None]
    faces = data["faces"].astype(np.int64)
    solid = (faces < _LAST_SOLID).all(1)
    renumber = np.cumsum(solid) - 1
    landmark_faces = np.where(solid[data["landmark_face"]], renumber[data["landmark_face"]], -1)
    landmark_faces[_IRIS] = -1
    joints, joint_basis, weights = _eyes(template - origin, identity)
    return HeadModel(
        name="ict-facekit-light",
        version="1",
        licence="MIT",
        template=_float(template - origin),
        faces=torch.from_numpy(faces[solid]),
        identity_basis=_float(identity),
        expression_basis=_float(_expressions(data)),
        expression_names=BLENDSHAPE_NAMES,
        joint_names=("head", *EYEBALLS),
        joint_parents=(-1, 0, 0),
        joints=_float(joints),
        joint_basis=_float(joint_basis),
        skinning_weights=_float(weights),
        uvs=_float(data["uv"]),
        uv_faces=torch.from_numpy(data["uv_faces"].astype(np.int64)[solid]),
        landmark_faces=torch.from_numpy(landmark_faces),
        landmark_barycentric=_float(data["landmark_barycentric"]),
        regions=_regions(len(template)),
        mirror=torch.arange(len(template)),
        collar=torch.zeros(0, dtype=torch.int64),
    )


def _expressions(data: dict[str, NDArray]) -> NDArray[np.float64]:
    """[52, V, 3]: ARKit's shapes from ICT's, which split three of them into left and right and lack tongueOut."""
    names = [str(name) for name in data["expression_names"]]
    out = np.zeros((len(BLENDSHAPE_NAMES), *data["vertices"].shape))
    for row, name in enumerate(BLENDSHAPE_NAMES):
        short = name.replace("Left", "_L").replace("Right", "_R") if name not in names else name
        for part in {short, f"{name}_L", f"{name}_R"} & set(names):
            k = names.index(part)
            out[row] += data["expression_int8"][k] * (data["expression_scale"][k] * _CENTIMETRE)
    return out


def _eyes(template: NDArray, identity: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Joints [3, 3], joint basis [K, 3, 3], weights [V, 3] of head, left eye, right eye."""
    joints, basis = np.zeros((3, 3)), np.zeros((len(identity), 3, 3))
    weights = np.zeros((len(template), 3))
    weights[:, 0] = 1
    for j, span in enumerate(EYEBALLS.values(), start=1):
        ball = slice(*span)
        joints[j], basis[:, j] = template[ball].mean(0), identity[:, ball].mean(1)
        weights[ball] = np.eye(3)[j]
    return joints, basis, weights


def _regions(count: int) -> dict[str, Tensor]:
    spans = {"face": FACE, "skin": SKIN, "mouth_interior": MOUTH_INTERIOR, "gums": GUMS, "teeth": TEETH, **EYEBALLS}
    index = torch.arange(count)
    return {name: (index >= low) & (index < high) for name, (low, high) in spans.items()}


def _float(values: NDArray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
