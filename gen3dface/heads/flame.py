"""FLAME (Li et al., 2017) from the user's own file: 2019, 2020, 2023 and 2023 Open, as pickle or npz.

v = LBS(template + shapedirs . (identity, expression) + posedirs . (R - I); R), joints = J_regressor @ shaped template.

FLAME's frame has our axes and metres. Ours starts in the middle of the head: the template and the joints are shifted
so that the eyes lie at `gen3dface.heads.regions.EYES`. A point in FLAME's own frame is ours plus `origin_of(model)`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen3dface.errors import HeadModelError
from gen3dface.heads.arrays import check_shape, checked, read_npz, reading, to_float, to_index
from gen3dface.heads.flame_arrays import to_array, to_dense
from gen3dface.heads.flame_pickle import read_pickle
from gen3dface.heads.landmark_files import no_landmarks, read_landmarks
from gen3dface.heads.model import HeadModel
from gen3dface.heads.obj import read_obj
from gen3dface.heads.regions import EYES, completed
from gen3dface.heads.topology import lowest_loop, mirror_vertices, unwrapped_uvs

Array = NDArray[Any]
IDENTITIES, EXPRESSIONS = 300, 100
JOINT_NAMES = ("root", "neck", "jaw", "left_eye", "right_eye")
_NON_COMMERCIAL = "FLAME licence, non-commercial (https://flame.is.tue.mpg.de)"
LICENCES = {"2019": _NON_COMMERCIAL, "2020": _NON_COMMERCIAL, "2023": _NON_COMMERCIAL, "2023-open": "CC-BY-4.0"}
VARIANTS = ("female", "male", "no-jaw")  # their coefficients are other ones, so they count as versions of their own
_REACH = 2.0  # metres from the middle of the head
_KEYS = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
_YEAR = re.compile(r"flame[-_ ]*v?(2019|2020|2023)([-_ ]*open)?")


def read_flame(
    path: str | Path,
    version: str | None = None,
    *,
    texture: str | Path | None = None,
    landmarks: str | Path | None = None,
    masks: str | Path | None = None,
    identities: int | None = None,
) -> HeadModel:
    """The head model in a FLAME file.

    Args:
        path: `generic_model.pkl`, `flame2023.pkl`, or the same arrays as npz.
        version: 2019, 2020, 2023 or 2023-open, with -female, -male or -no-jaw where the file is such a variant. It
            may be left out where the file's or its folder's name says it.
        texture: `vt` and `ft` of this npz, or the coordinates of this OBJ, become the texture coordinates. Without
            it the mesh is cut and unwrapped anew.
        landmarks: MediaPipe's embedding (npz with `lmk_face_idx`, `lmk_b_coords`, `landmark_indices`).
        masks: `FLAME_masks.pkl`.
        identities: how many of the directions are identities, 0..300; the others are expressions. It may be left out
            where the file has at least 300, which then are the identities; a file of 150 does not say where to cut.

    Raises:
        HeadModelError: the version or the number of identities is not clear, or a file is missing, damaged, unsafe or
            of another kind.
    """
    path = Path(path)
    version = _version(path, version)
    with reading(path):
        arrays = _arrays(path)
        split = _split(arrays["shapedirs"].shape[2], identities)
        return checked(_model(arrays, split, version, texture, landmarks, masks))


def origin_of(model: HeadModel) -> Tensor:
    """[3] metres: where our origin lies in FLAME's own frame. Exact, as it is what was subtracted."""
    return torch.tensor(model.origin).to(model.template)


def guess_version(path: Path) -> str | None:
    """What the names of a file and its folder say, None where they do not say it unmistakably."""
    for name in (path.name.lower(), path.absolute().parent.name.lower()):
        if found := _YEAR.search(name):
            version = found[1] + ("-open" if found[2] else "")
            variants = [v for v in VARIANTS if re.search(rf"(^|[-_ ]){v.replace('-', '[-_ ]*')}", path.name.lower())]
            return "-".join([version, *variants[:1]]) if version in LICENCES else None
    return None


def _version(path: Path, given: str | None) -> str:
    choices = ", ".join(LICENCES)
    version = given or guess_version(path)
    if version is None:
        raise HeadModelError(
            f"'{path.name}' does not say which FLAME it is, and their coefficients do not mix: give the version, one "
            f"of {choices}."
        )
    if _base(version) not in LICENCES:
        raise HeadModelError(f"There is no FLAME version {version!r}; choose one of {choices}.")
    return version


def _base(version: str) -> str:
    for variant in VARIANTS:
        version = version.removesuffix(f"-{variant}")
    return version


def _arrays(path: Path) -> dict[str, Array]:
    """The seven arrays by FLAME's names, shapes checked."""
    raw = read_npz(path, _KEYS) if path.suffix.lower() == ".npz" else read_pickle(path)
    if not isinstance(raw, dict) or (missing := [key for key in _KEYS if key not in raw]):
        raise HeadModelError(f"it is no FLAME model: {', '.join(missing) if isinstance(raw, dict) else 'keys'} missing")
    out = {key: to_array(raw[key], key) for key in _KEYS if key != "J_regressor"}
    v, joints = len(check_shape(out["v_template"], "v_template", (None, 3))), len(JOINT_NAMES)
    check_shape(out["f"], "f", (None, 3))
    check_shape(out["shapedirs"], "shapedirs", (v, 3, None))
    check_shape(out["kintree_table"], "kintree_table (FLAME has 5 joints)", (2, joints))
    check_shape(out["weights"], "weights", (v, joints))
    check_shape(out["posedirs"], "posedirs", (v, 3, 9 * (joints - 1)))
    out["J_regressor"] = to_dense(raw["J_regressor"], "J_regressor", (joints, v))
    check_shape(out["J_regressor"], "J_regressor", (joints, v))
    return out


def _split(columns: int, identities: int | None) -> int:
    """How many of the columns of `shapedirs` are identities."""
    if identities is None and columns < IDENTITIES:
        raise HeadModelError(
            f"shapedirs has {columns} columns, fewer than FLAME's 300 + 100, and does not say which are expressions: "
            "give the number of identities (--identities)"
        )
    split = IDENTITIES if identities is None else identities
    if not (0 <= split <= min(columns, IDENTITIES) and columns - split <= EXPRESSIONS):
        raise HeadModelError(
            f"shapedirs has {columns} columns, which cannot be {split} identities and the rest expressions: FLAME has "
            "300 + 100"
        )
    return split


def _model(
    arrays: dict[str, Array],
    split: int,
    version: str,
    texture: str | Path | None,
    landmarks: str | Path | None,
    masks: str | Path | None,
) -> HeadModel:
    own, regressor = arrays["v_template"].astype(np.float64), arrays["J_regressor"].astype(np.float64)
    faces = to_index(arrays["f"], "f").numpy()
    if not 0 <= faces.min() <= faces.max() < len(own):
        raise HeadModelError("f points at vertices that are not there")
    joints = regressor @ own
    origin = joints[3:].mean(0) - np.array(EYES)
    template = own - origin
    if not np.abs(template).max() < _REACH:  # xatlas would take forever over such a mesh
        raise HeadModelError(f"v_template or J_regressor reach beyond {_REACH:.0f} metres, or hold NaN")
    directions = np.moveaxis(arrays["shapedirs"], -1, 0).astype(np.float64)  # [K + E, V, 3]
    joint_directions = np.einsum("jv,kvc->kjc", regressor, directions)
    uvs, uv_faces = unwrapped_uvs(template, faces) if texture is None else read_texture_space(Path(texture), faces)
    places = no_landmarks() if landmarks is None else read_landmarks(Path(landmarks), len(faces))
    placed = to_float(template, "v_template")
    return HeadModel(
        name="flame",
        version=version,
        licence=LICENCES[_base(version)],
        template=placed,
        faces=to_index(faces),
        identity_basis=to_float(directions[:split], "shapedirs"),
        expression_basis=to_float(directions[split:], "shapedirs"),
        expression_names=tuple(f"expression_{k:03}" for k in range(len(directions) - split)),
        joint_names=JOINT_NAMES,
        joint_parents=(-1, *to_index(arrays["kintree_table"][0, 1:], "kintree_table").tolist()),
        joints=to_float(joints - origin, "J_regressor"),
        joint_basis=to_float(joint_directions[:split], "J_regressor"),
        skinning_weights=to_float(arrays["weights"], "weights"),
        uvs=to_float(uvs, "the texture coordinates"),
        uv_faces=to_index(uv_faces),
        landmark_faces=places[0],
        landmark_barycentric=places[1],
        regions=completed(_regions(masks, arrays["weights"]), placed),
        mirror=to_index(mirror_vertices(template)),
        collar=to_index(lowest_loop(template, faces)),
        expression_joint_basis=to_float(joint_directions[split:], "J_regressor"),
        pose_correctives=to_float(np.moveaxis(arrays["posedirs"], -1, 0), "posedirs"),
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
    )


def read_texture_space(path: Path, faces: Array) -> tuple[Array, Array]:
    """Texture coordinates [T, 2] and triangles [F, 3] of an npz with `vt` and `ft`, or of an OBJ."""
    if path.suffix.lower() == ".obj":
        mesh = read_obj(path)
        if not np.array_equal(mesh.faces, faces) or mesh.uv_faces is None:
            raise HeadModelError(f"'{path}' has no texture coordinates, or other triangles than the model")
        return mesh.uvs, mesh.uv_faces
    arrays = read_npz(path, ("vt", "ft"))
    if not {"vt", "ft"} <= arrays.keys():
        raise HeadModelError(f"'{path}' has no texture coordinates (vt and ft)")
    uvs, triangles = check_shape(arrays["vt"], "vt", (None, 2)), check_shape(arrays["ft"], "ft", faces.shape)
    return uvs, to_index(triangles, "ft").numpy()


def _regions(masks: str | Path | None, weights: Array) -> dict[str, Tensor]:
    """FLAME's own 14 regions, and what the package calls them; the eyeballs from the weights where there is no file."""
    regions = {name: torch.from_numpy(weights[:, JOINT_NAMES.index(name)] > 0.5) for name in ("left_eye", "right_eye")}
    if masks is None:
        return regions
    with reading(masks):
        return regions | read_masks(Path(masks), len(weights))


def read_masks(path: Path, vertices: int) -> dict[str, Tensor]:
    """The regions of `FLAME_masks.pkl` as [V] bool, with `ears`, `left_eye` and `right_eye` as the package names them.

    Raises:
        HeadModelError: it cannot be read, or names other vertices than the model has.
    """
    found = read_pickle(path)
    if not isinstance(found, dict):
        raise HeadModelError("it holds no regions")
    regions = {}
    for name, value in found.items():
        index = to_array(value, f"the region {name!r}")
        if index.dtype.kind not in "iu" or (index.size and not 0 <= index.min() <= index.max() < vertices):
            raise HeadModelError(f"the region {name!r} points at vertices that are not there")
        regions[str(name)] = torch.zeros(vertices, dtype=torch.bool)
        regions[str(name)][to_index(index.ravel())] = True
    named = {"ears": ("left_ear", "right_ear"), "left_eye": ("left_eyeball",), "right_eye": ("right_eyeball",)}
    for name, parts in named.items():
        if all(part in found for part in parts):
            regions[name] = torch.stack([regions[part] for part in parts]).any(0)
    return regions
