"""FLAME's 68 landmarks: 51 fixed ones, and a contour of 17 that slides over the cheeks as the head turns.

The contour is looked up in a table by the head's yaw relative to the camera, in whole degrees of -39..39 (RingNet;
Sanyal et al., 2019). Rows 0..39 belong to a head turned 0..39 degrees to its right, rows 40..78 to its left.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.errors import HeadModelError
from gen3dface.heads.arrays import check_shape, reading, to_float, to_index
from gen3dface.heads.flame_arrays import to_array
from gen3dface.heads.flame_pickle import StoredArray, check_size, load_pickle
from gen3dface.heads.model import HeadMesh
from gen3dface.heads.skinning import rotation_matrices

LIMIT = 39  # degrees of yaw
_SHAPES: dict[str, tuple[int, ...]] = {"static": (51,), "full": (68,), "dynamic": (2 * LIMIT + 1, 17)}


@dataclass(frozen=True)
class FlameLandmarks:
    """Triangles and barycentric coordinates on FLAME's surface; 68 points in Multi-PIE's order, contour first."""

    static_faces: Tensor  # [51] int64: brows, nose, eyes, mouth
    static_barycentric: Tensor  # [51, 3]
    full_faces: Tensor  # [68] int64: with the contour of a frontal face
    full_barycentric: Tensor  # [68, 3]
    dynamic_faces: Tensor  # [79, 17] int64
    dynamic_barycentric: Tensor  # [79, 17, 3]

    def static(self, mesh: HeadMesh) -> Tensor:
        """The 68 points [..., 68, 3] in metres with the contour of a frontal face."""
        return _points(mesh, self.full_faces, self.full_barycentric)

    def dynamic(self, mesh: HeadMesh, yaw: Tensor) -> Tensor:
        """The 68 points [..., 68, 3] in metres with the contour that a camera sees.

        Args:
            yaw: [...] degrees by which the head is turned to its left, relative to the camera (`head_yaw`).
        """
        row = contour_row(yaw)
        faces = torch.cat([self.dynamic_faces[row], self.static_faces.expand(*row.shape, -1)], -1)
        weights = self.static_barycentric.expand(*row.shape, -1, -1)
        return _points(mesh, faces, torch.cat([self.dynamic_barycentric[row], weights], -2))


def contour_row(yaw: Tensor) -> Tensor:
    """Rows [...] int64 of the table of contours for yaws [...] in degrees, to the subject's left."""
    degrees = yaw.clamp(-LIMIT, LIMIT).round().long()
    return torch.where(degrees > 0, LIMIT + degrees, -degrees)


def head_yaw(rotations: Tensor, camera: Cameras | None = None) -> Tensor:
    """Degrees [...] by which a head is turned to its left, relative to the camera.

    The yaw is the angle about y of a rotation R = Rz Ry Rx: atan2(-R_zx, sqrt(R_xx^2 + R_yx^2)).

    Args:
        rotations: [..., J, 3] axis-angle in radians; root and neck come first.
        camera: N = 1; None: it looks along -z, from straight ahead of the head at rest.
    """
    turned = rotation_matrices(rotations[..., :2, :])
    turn = turned[..., 0, :, :] @ turned[..., 1, :, :]
    if camera is not None:
        upright = torch.diag(turn.new_tensor([1.0, -1.0, -1.0]))  # the camera's y is down, its z away from it
        turn = upright @ camera.world_to_camera[0, :3, :3].to(turn) @ turn
    across = torch.linalg.vector_norm(turn[..., :2, 0], dim=-1)
    return torch.rad2deg(torch.atan2(-turn[..., 2, 0], across))


def read_flame_landmarks(path: str | Path, faces: int) -> FlameLandmarks:
    """The table in `landmark_embedding.npy`: a dictionary of numpy arrays and PyTorch tensors, nothing else.

    Args:
        faces: how many triangles the model has.

    Raises:
        HeadModelError: the file is missing, damaged, unsafe, or points at triangles that are not there.
    """
    path = Path(path)
    with reading(path):
        try:
            check_size(path)
            with open(path, "rb") as file:
                found = _dictionary(file)
        except OSError as error:
            raise HeadModelError(f"it cannot be read: {error.strerror or error}") from error
        values: dict[str, Tensor] = {}
        for name, shape in _SHAPES.items():
            index, weights = (
                _entry(found, f"{name}_lmk_{part}", len(shape) + more)
                for more, part in enumerate(("faces_idx", "bary_coords"))
            )
            check_shape(index, f"{name}_lmk_faces_idx", shape)
            check_shape(weights, f"{name}_lmk_bary_coords", (*shape, 3))
            if index.dtype.kind not in "iu" or not 0 <= index.min() <= index.max() < faces:
                raise HeadModelError(f"{name}_lmk_faces_idx points outside of 0..{faces - 1}")
            if not np.allclose(weights.sum(-1), 1, atol=1e-3):
                raise HeadModelError(f"{name}_lmk_bary_coords do not sum to 1")
            values[f"{name}_faces"], values[f"{name}_barycentric"] = to_index(index), to_float(weights, name)
        return FlameLandmarks(**values)


def from_tensors(tensors: dict[str, Tensor], prefix: str = "") -> FlameLandmarks:
    """The table whose tensors are named `prefix` and the field. Raises KeyError where one is missing."""
    return FlameLandmarks(**{field.name: tensors[prefix + field.name] for field in fields(FlameLandmarks)})


def _dictionary(file: IO[bytes]) -> dict[Any, Any]:
    """What an npy file of one object holds."""
    try:
        version = npy.read_magic(file)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = header(file)
    except ValueError as error:
        raise HeadModelError(f"it is no npy file: {error}") from error
    if shape != () or not dtype.hasobject:
        raise HeadModelError("it holds plain numbers, not a dictionary")
    found = load_pickle(file)
    held = found.value if isinstance(found, StoredArray) else found
    if not isinstance(held, list) or len(held) != 1 or not isinstance(held[0], dict):
        raise HeadModelError("it holds no dictionary")
    return held[0]


def _entry(found: dict[Any, Any], name: str, axes: int) -> NDArray[Any]:
    """The array of that name, without the axis of length 1 that `full` has before the others."""
    if name not in found:
        raise HeadModelError(f"it is no table of FLAME's landmarks: {name} is missing")
    array = to_array(found[name], name)
    return array[0] if array.ndim == axes + 1 and len(array) == 1 else array


def _points(mesh: HeadMesh, faces: Tensor, weights: Tensor) -> Tensor:
    """Surface points [..., L, 3] of triangles [..., L], the batches of mesh and landmarks being broadcast."""
    batch = torch.broadcast_shapes(mesh.vertices.shape[:-2], faces.shape[:-1])
    index = mesh.faces[faces].expand(*batch, -1, -1)  # [..., L, 3]
    vertices = mesh.vertices.expand(*batch, -1, -1)
    corners = torch.gather(vertices, -2, index.flatten(-2)[..., None].expand(*index.shape[:-2], -1, 3))
    return (corners.unflatten(-2, index.shape[-2:]) * weights[..., None].to(corners)).sum(-2)
