"""Weak-perspective cameras of DECA and its kin, turned into ours.

They see FLAME's posed vertices v (its frame, x to the subject's left, y up) in a crop as

    ndc = s (v_xy + t),   then y is flipped,   pixel = (ndc + 1) side / 2,

with the head turned about its root joint: v = R (x - J) + J. Our heads stay at rest, and a pinhole camera turns:

- the focal length f is the portrait's, or a portrait lens' balanced with the usual distance to a face;
- the camera stands where a point in the face's middle falls on the pixel that theirs gives, and where one metre there
  has as many pixels as in theirs: depth = f / scale;
- the turn R is what the crop shows, that is, along the ray to the face and not along the camera's axis: the camera is
  turned by as much as that ray leaves the axis. Else a face beside the middle would be seen from the side.

What is nearer than the face's middle by d is drawn larger by d / depth, which weak perspective cannot say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.errors import EstimationError
from gen3dface.estimators.crops import Crop
from gen3dface.estimators.pose import perspective_start
from gen3dface.estimators.priors import LensPrior

if TYPE_CHECKING:
    from gen3dface.heads import HeadMesh, HeadModel

Array = NDArray[np.float64]

_TO_OPENCV = np.diag([1.0, -1.0, -1.0])
_LEAST_SCALE = 1e-3  # px of the photo a metre; under it there is no head


@dataclass(frozen=True)
class WeakPerspective:
    """How a network saw a head in its crop."""

    turn: Array  # [3] axis-angle about the root joint, radians
    scale: float  # s: half crop sides a metre
    shift: Array  # [2] t, metres
    crop: Crop

    @classmethod
    def of_code(cls, turn: Tensor, camera: Tensor, crop: Crop) -> WeakPerspective:
        """From a network's numbers: turn [3] and camera [3] (s, tx, ty)."""
        numbers = camera.double().cpu().numpy()
        return cls(turn.double().cpu().numpy(), float(numbers[0]), numbers[1:], crop)

    @property
    def pixels_per_metre(self) -> float:
        """In the photo."""
        return self.scale * self.crop.side / 2 / self.crop.scale

    def project(self, points: Array) -> Array:
        """FLAME's turned points [..., 3], metres -> px of the photo [..., 2]."""
        ndc = self.scale * (points[..., :2] + self.shift) * np.array([1.0, -1.0])
        return self.crop.in_photo((ndc + 1) * self.crop.side / 2)


def pinhole(
    seen: WeakPerspective, mesh: HeadMesh, model: HeadModel, height: int, width: int, lens: LensPrior
) -> Cameras:
    """Our camera for a head that a network saw.

    Args:
        mesh: the head in its expression, jaw and neck posed, root at rest. lens: belief about the photo's.

    Raises:
        EstimationError: the network's numbers are no view of a head.
    """
    if not (np.isfinite([*seen.turn, seen.scale, *seen.shift]).all() and seen.pixels_per_metre > _LEAST_SCALE):
        raise EstimationError("The network saw no head in this photo; use one in which the face is clearly visible.")
    rotation = Rotation.from_rotvec(seen.turn).as_matrix()
    root = mesh.joints[model.joint_parents.index(-1)].double().numpy()
    middle = face_middle(mesh)
    turned = rotation @ (middle - root) + root + np.array(model.origin)
    principal = np.array([width, height]) / 2
    focal = balanced_focal(lens, seen.pixels_per_metre)
    place = perspective_start(seen.pixels_per_metre, seen.project(turned) - principal, focal)
    to_camera = along(place) @ _TO_OPENCV @ rotation
    return pinhole_camera(to_camera, place - to_camera @ middle, focal, height, width)


def balanced_focal(lens: LensPrior, scale: float) -> float:
    """The focal length (px) at which the beliefs in lens and distance agree best, at `scale` px a metre.

    log f = log f0 and log(f / scale) = log d0, each weighted by its precision.
    """
    trust, other = lens.focal_spread**-2, lens.distance_spread**-2
    log_focal = (trust * np.log(lens.focal) + other * np.log(lens.distance * scale)) / (trust + other)
    return float(np.exp(log_focal))


def along(place: Array) -> Array:
    """The smallest turn [3, 3] that takes the camera's axis to the direction of `place` [3]."""
    ray = place / np.linalg.norm(place)
    axis = np.cross([0.0, 0.0, 1.0], ray)
    sine = np.linalg.norm(axis)
    if sine < 1e-12:
        return np.eye(3)
    turned: Array = Rotation.from_rotvec(axis / sine * np.arctan2(sine, ray[2])).as_matrix()
    return turned


def face_middle(mesh: HeadMesh) -> Array:
    """[3] the mean of the landmarks that the head has; the origin where it has none."""
    points = mesh.landmarks().double().numpy()
    known = points[np.isfinite(points).all(-1)]
    middle: Array = known.mean(0) if len(known) else np.zeros(3)
    return middle


def pinhole_camera(rotation: Array, translation: Array, focal: float, height: int, width: int) -> Cameras:
    """A camera of a photo, principal point at its centre."""
    transform = torch.eye(4)
    transform[:3, :3], transform[:3, 3] = torch.from_numpy(rotation).float(), torch.from_numpy(translation).float()
    intrinsics = torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
    return Cameras(transform[None], intrinsics[None], height, width)
