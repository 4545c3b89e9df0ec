"""GNM Head v3 (Google, 2026, Apache-2.0; hub id google/gnm-v3) from the user's npz.

Shapes and names are checked, not bytes: several files circulate, and some names in them were changed. GNM's joints are
neck, head and the two eyes; a fixed root before them takes the place of the others' root, so that GNM's correctives,
which depend on all four, are those of all joints but the first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen3dface.errors import HeadModelError
from gen3dface.heads.arrays import check_shape, checked, read_npz, reading, to_float, to_index
from gen3dface.heads.landmark_files import no_landmarks, read_landmarks
from gen3dface.heads.model import HeadModel
from gen3dface.heads.regions import EYES, completed
from gen3dface.heads.topology import lowest_loop

VERTICES, IDENTITIES, EXPRESSIONS = 17_821, 253, 383
_NEEDED = (
    "template_vertex_positions", "vertex_identity_basis", "expression_basis", "template_joint_positions",
    "joint_identity_basis", "joint_names", "joint_parent_indices", "skinning_weights", "triangles", "triangle_uvs",
    "expression_names",
)  # fmt: skip
_OPTIONAL = (
    "version",
    "variant",
    "pose_correctives_regressor",
    "mirror_indices",
    "vertex_groups",
    "vertex_group_names",
)
# what the package calls them: unions of GNM's groups, whose names differ from release to release
_GROUPS = {
    "teeth": ("teeth", "upper_teeth_and_gums", "lower_teeth_and_gums", "upper_teeth", "lower_teeth"),
    "tongue": ("tongue",),
    "mouth_interior": ("mouth_sock", "gums"),
    "ears": ("ears", "left_ear", "right_ear"),
    "lips": ("lips", "upper_lip", "lower_lip"),
}

Array = NDArray[Any]


def read_gnm(path: str | Path, *, landmarks: str | Path | None = None) -> HeadModel:
    """The head model in `gnm_head.npz`.

    Raises:
        HeadModelError: the file is missing or damaged, or has other shapes or names than GNM Head v3.
    """
    path = Path(path)
    arrays = read_npz(path, (*_NEEDED, *_OPTIONAL))
    with reading(path):
        if missing := [key for key in _NEEDED if key not in arrays]:
            raise HeadModelError(f"it is no GNM head: {', '.join(missing)} missing")
        names = _names(arrays, "joint_names")
        _check(arrays, names)
        places = no_landmarks() if landmarks is None else read_landmarks(Path(landmarks), len(arrays["triangles"]))
        return checked(_model(arrays, names, places))


def _names(arrays: dict[str, Array], key: str) -> list[str]:
    if arrays[key].ndim != 1:
        raise HeadModelError(f"{key} has shape {list(arrays[key].shape)}, expected a list of names")
    return [str(name) for name in arrays[key]]


def _check(arrays: dict[str, Array], names: list[str]) -> None:
    v, k, e, joints = VERTICES, IDENTITIES, EXPRESSIONS, len(names)
    f = len(check_shape(arrays["triangles"], "triangles", (None, 3)))
    shapes: dict[str, tuple[int | None, ...]] = {
        "template_vertex_positions": (v, 3),
        "vertex_identity_basis": (k, v, 3),
        "expression_basis": (e, v, 3),
        "template_joint_positions": (joints, 3),
        "joint_identity_basis": (k, joints, 3),
        "joint_parent_indices": (joints,),
        "skinning_weights": (joints, v),
        "triangle_uvs": (f, 3, 2),
        "pose_correctives_regressor": (9 * joints, 3 * v),
        "mirror_indices": (v,),
    }
    for name, shape in shapes.items():
        if name in arrays:
            check_shape(arrays[name], name, shape)
    if len(_names(arrays, "expression_names")) != e or not {"left_eye", "right_eye"} <= set(names):
        raise HeadModelError("its expressions or joints have other names")
    version = str(arrays.get("version", "3"))
    if version.split(".")[0] != "3" or str(arrays.get("variant", "head")).lower() != "head":
        raise HeadModelError(f"it is GNM {arrays.get('variant', '')} {version}, not Head v3")


def _model(arrays: dict[str, Array], names: list[str], places: tuple[Tensor, Tensor]) -> HeadModel:
    joints = arrays["template_joint_positions"].astype(np.float64)
    eyes = [names.index("left_eye"), names.index("right_eye")]
    origin = joints[eyes].mean(0) - np.array(EYES)
    template = arrays["template_vertex_positions"].astype(np.float64) - origin
    faces, weights = to_index(arrays["triangles"], "triangles").numpy(), arrays["skinning_weights"].T
    placed = to_float(template, "template_vertex_positions")
    uvs, uv_faces = _texture_space(arrays["triangle_uvs"])
    mirror = arrays.get("mirror_indices", np.arange(len(template)))
    regressor = arrays.get("pose_correctives_regressor")
    correctives = None if regressor is None or not regressor.any() else regressor.reshape(-1, VERTICES, 3)
    root = names.index("neck") if "neck" in names else 0
    return HeadModel(
        name="gnm",
        version=str(arrays.get("version", "3.0")),
        licence="Apache-2.0",
        template=placed,
        faces=to_index(faces),
        identity_basis=to_float(arrays["vertex_identity_basis"], "vertex_identity_basis"),
        expression_basis=to_float(arrays["expression_basis"], "expression_basis"),
        expression_names=tuple(_names(arrays, "expression_names")),
        joint_names=("root", *names),
        joint_parents=(-1, *_parents(arrays["joint_parent_indices"])),
        joints=to_float(np.concatenate([joints[[root]], joints]) - origin, "template_joint_positions"),
        joint_basis=_with_root(arrays["joint_identity_basis"], root),
        skinning_weights=torch.cat([torch.zeros(len(template), 1), to_float(weights, "skinning_weights")], 1),
        uvs=uvs,
        uv_faces=uv_faces,
        landmark_faces=places[0],
        landmark_barycentric=places[1],
        regions=completed(_regions(arrays, weights[:, eyes]), placed),
        mirror=to_index(mirror, "mirror_indices"),
        collar=to_index(lowest_loop(template, faces)),
        pose_correctives=None if correctives is None else to_float(correctives, "pose_correctives_regressor"),
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
    )


def _parents(indices: Array) -> tuple[int, ...]:
    """Parents behind the added root; GNM's own root has itself, or -1, as parent."""
    parents = to_index(indices, "joint_parent_indices").tolist()
    return tuple(0 if j == 0 else parent + 1 for j, parent in enumerate(parents))


def _with_root(basis: Array, root: int) -> Tensor:
    return to_float(np.concatenate([basis[:, [root]], basis], 1), "joint_identity_basis")


def _texture_space(corners: Array) -> tuple[Tensor, Tensor]:
    """uvs [T, 2] and uv_faces [F, 3] of corners [F, 3, 2]; tiles beyond the unit square are laid side by side."""
    tiles = np.floor(corners.min(1)).astype(np.int64)  # [F, 2]
    across = int(max(tiles.max() + 1, 1))
    if not np.isfinite(corners).all() or tiles.min() < 0 or across > 16:
        raise HeadModelError("triangle_uvs lie outside of any texture")
    flat, place = np.unique(corners.reshape(-1, 2), axis=0, return_inverse=True)
    return to_float(flat / across, "triangle_uvs"), to_index(place.reshape(-1, 3))


def _regions(arrays: dict[str, Array], eyes: Array) -> dict[str, Tensor]:
    """GNM's own groups, and what the package calls them; the eyeballs are what turns with the eyes' joints."""
    regions: dict[str, Tensor] = {}
    if "vertex_groups" in arrays and "vertex_group_names" in arrays:
        names = _names(arrays, "vertex_group_names")
        groups = check_shape(arrays["vertex_groups"], "vertex_groups", (len(names), VERTICES)) > 0.5
        regions = {name: torch.from_numpy(mask.copy()) for name, mask in zip(names, groups, strict=True)}
    for name, parts in _GROUPS.items():
        if known := [regions[part] for part in parts if part in regions]:
            regions[name] = torch.stack(known).any(0)
    for place, name in enumerate(("left_eye", "right_eye")):
        regions[name] = torch.from_numpy(eyes[:, place] > 0.5)
    return regions
