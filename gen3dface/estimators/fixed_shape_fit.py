"""Pose, expression and jaw of a head whose shape is known, from the photo's landmarks.

Minimises  shared * sum_l rho(|r_l|^2 / s_l^2) + sum rho(prior)  with rho(x) = 2 (sqrt(1 + x) - 1), by SciPy's
trust-region least squares with central differences, in float64. `r_l` is a landmark's reprojection error and `s_l` its
spread; landmark errors come in patches, so they count `shared` times. The focal length is settled before (see
`flame_camera.balanced_focal`), and the known size of the head then gives the distance. The eyes look ahead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.errors import EstimationError
from gen3dface.estimators.flame_camera import balanced_focal, pinhole_camera
from gen3dface.estimators.landmark_fit import SHARED
from gen3dface.estimators.pose import perspective_start, weak_perspective_pose
from gen3dface.estimators.priors import LensPrior, landmark_spread
from gen3dface.heads.skinning import rotation_matrices

if TYPE_CHECKING:
    from gen3dface.heads import HeadModel
    from gen3dface.photo.portrait import Portrait

Array = NDArray[np.float64]

_JAW_SPREAD = (0.25, 0.05, 0.05)  # radians: opening, sideways, roll
_POSE, _JAW = 6, 3
_START_JAW = 0.02  # radians, inside the bound: a jaw opens only
_NEAREST = 0.05  # metres before the camera
_STEP = 1e-6  # of the central differences


@dataclass(frozen=True)
class _Problem:
    """What is given; the unknowns are turn 3, place 3, jaw 3 and expression E."""

    head: HeadModel  # float64, the landmarks' vertices alone, shape included
    rotation: Array  # [3, 3] the pose that `turn` starts from
    focal: float
    pixels: Array  # [L, 2] from the principal point
    spread: Array  # [L] px


def fit_pose_and_expression(
    portrait: Portrait, model: HeadModel, identity: Tensor, lens: LensPrior
) -> tuple[Tensor, Tensor, Cameras]:
    """Expression [E], the jaw's axis-angle [3], and the camera.

    Raises:
        EstimationError: the landmarks are not numbers or admit no pose in front of the camera.
    """
    index = torch.nonzero(model.landmark_faces >= 0)[:, 0].numpy()
    centre = np.array([portrait.width, portrait.height]) / 2
    pixels = portrait.landmarks[index, :2].astype(np.float64) - centre
    if not np.isfinite(pixels).all():
        raise EstimationError("Some landmarks are not numbers.")
    head = landmark_head(model, identity)
    points = head.mesh().landmarks().numpy()
    spread = landmark_spread()[index]
    rotation, scale, origin = weak_perspective_pose(points, pixels, 1 / spread**2)
    focal = balanced_focal(lens, scale)
    # the mean head's outer eye corners lie about 9 cm apart; the spread is given in that distance
    problem = _Problem(head, rotation, focal, pixels, spread * 0.09 * scale)
    solved = _solve(problem, perspective_start(scale, origin, focal))
    to_camera = Rotation.from_rotvec(solved[:3]).as_matrix() @ rotation
    camera = pinhole_camera(to_camera, solved[3:_POSE], focal, portrait.height, portrait.width)
    found = torch.from_numpy(solved[_POSE:]).float()
    return found[_JAW:], found[:_JAW], camera


def landmark_head(model: HeadModel, identity: Tensor) -> HeadModel:
    """The corners of the landmarks' triangles as a head of its own in float64: this person's shape, no identities."""
    known = model.landmark_faces >= 0
    used, corners = torch.unique(model.faces[model.landmark_faces[known]], return_inverse=True)
    template = model.template + torch.einsum("k,kvc->vc", identity, model.identity_basis)
    joints = model.joints + torch.einsum("k,kjc->jc", identity, model.joint_basis)
    moved, bent = model.expression_joint_basis, model.pose_correctives
    return replace(
        model,
        template=template[used].double(),
        faces=corners,
        uv_faces=corners,
        identity_basis=torch.zeros(0, len(used), 3, dtype=torch.float64),
        expression_basis=model.expression_basis[:, used].double(),
        joints=joints.double(),
        joint_basis=torch.zeros(0, len(joints), 3, dtype=torch.float64),
        skinning_weights=model.skinning_weights[used].double(),
        landmark_faces=torch.arange(len(corners)),
        landmark_barycentric=model.landmark_barycentric[known].double(),
        regions={},
        mirror=torch.arange(len(used)),
        collar=torch.zeros(0, dtype=torch.int64),
        expression_joint_basis=None if moved is None else moved.double(),
        pose_correctives=None if bent is None else bent[:, used].double(),
    )


def _solve(problem: _Problem, place: Array) -> Array:
    """[3 + 3 + 3 + E]: turn, place, jaw, expression."""
    if not place[2] > _NEAREST:
        raise EstimationError("No pose in front of the camera explains these landmarks.")
    residuals = _residuals(problem)
    start = np.zeros(_POSE + _JAW + len(problem.head.expression_names))
    start[3:_POSE], start[_POSE] = place, _START_JAW
    low = np.full(len(start), -np.inf)
    low[_POSE - 1], low[_POSE] = _NEAREST, 0
    steps = np.eye(len(start)) * _STEP

    def slopes(unknowns: Array) -> Array:
        difference: Array = residuals(unknowns + steps) - residuals(unknowns - steps)
        return difference.T / (2 * _STEP)

    solved: Array = least_squares(
        residuals, start, jac=slopes, bounds=(low, np.inf), x_scale="jac", loss="soft_l1", ftol=1e-8, max_nfev=60
    ).x
    return solved


def _residuals(problem: _Problem) -> Callable[[Array], Array]:
    """Unknowns [..., N] -> landmarks' errors over their spread, and the priors', each of them N(0, 1): [..., M]."""
    rotation, pixels = torch.from_numpy(problem.rotation), torch.from_numpy(problem.pixels)
    weight = SHARED**0.5 / torch.from_numpy(problem.spread)[:, None]
    jaw_spread = torch.tensor(_JAW_SPREAD, dtype=torch.float64)
    jaw_joint = torch.zeros(len(problem.head.joint_names), 1, dtype=torch.float64)
    jaw_joint[problem.head.joint_names.index("jaw")] = 1

    def residuals(unknowns: Array) -> Array:
        turn, place, jaw, expression = torch.from_numpy(unknowns).tensor_split((3, _POSE, _POSE + _JAW), -1)
        points = problem.head.mesh(None, expression, jaw_joint * jaw[..., None, :]).landmarks()
        local = points @ (rotation_matrices(turn) @ rotation).mT + place[..., None, :]
        error = (problem.focal * local[..., :2] / local[..., 2:] - pixels) * weight
        return torch.cat([error.flatten(-2), jaw / jaw_spread, expression], -1).numpy()

    return residuals
