"""FLAME coefficients of other projects' networks to a `HeadFit`.

Their global turn goes into the camera: our heads stay in their own frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.errors import EstimationError, HeadModelError
from gen3dface.estimators.confidence import HOPELESS_RESIDUAL, confidence
from gen3dface.estimators.flame_camera import WeakPerspective, pinhole
from gen3dface.estimators.hanging_hair import hanging_hair
from gen3dface.estimators.head_fit import HeadFit
from gen3dface.estimators.landmark_fit import LEFT_EYE_OUTER, RIGHT_EYE_OUTER
from gen3dface.estimators.priors import LensPrior
from gen3dface.estimators.silhouette import hair_offsets
from gen3dface.estimators.visibility import vertex_visibility

if TYPE_CHECKING:
    from gen3dface.estimators.crops import Crop
    from gen3dface.heads import HeadMesh, HeadModel
    from gen3dface.photo.portrait import Portrait

FLAME_VERSION = "2020"  # DECA, SMIRK and MICA were all trained with it
Code = TypeVar("Code")
_STRANGEST = 100.0  # standard deviations, or radians


def require_flame(model: HeadModel, owner: str, identities: int, expressions: int) -> HeadModel:
    """`model` itself. Raises HeadModelError unless a network trained with FLAME 2020 can drive it."""
    if (model.name, model.version) != ("flame", FLAME_VERSION):
        raise HeadModelError(
            f"{owner} was trained with FLAME {FLAME_VERSION}, whose coefficients mean something else in {model.name} "
            f"{model.version}; give FLAME {FLAME_VERSION}."
        )
    if model.identity_size < identities or len(model.expression_names) < expressions:
        raise HeadModelError(
            f"{owner} gives {identities} identity and {expressions} expression coefficients, this FLAME has "
            f"{model.identity_size} and {len(model.expression_names)}; convert the whole model."
        )
    if (model.landmark_faces[[RIGHT_EYE_OUTER, LEFT_EYE_OUTER]] < 0).any():
        raise HeadModelError(
            f"{owner}: this FLAME carries no landmarks of the eyes, so nothing tells how well a photo fits; convert it "
            "together with MediaPipe's embedding."
        )
    return model


@torch.no_grad()
def run_network(network: Callable[[Tensor], Code], image: Tensor, device: torch.device) -> Code:
    """What a network makes of one crop [3, n, n]."""
    return network(image[None].to(device))


def padded(values: Tensor, size: int) -> Tensor:
    """float32 [size] on the CPU: `values` [N] and zeros. Raises EstimationError where no head has such numbers."""
    own = values.detach().float().cpu()
    if not bool((own.abs() < _STRANGEST).all()):
        raise EstimationError("The network's numbers belong to no head; its checkpoint may be damaged.")
    return torch.nn.functional.pad(own, (0, size - len(own)))


def jaw_rotations(model: HeadModel, jaw: Tensor) -> Tensor:
    """[J, 3] axis-angle: `jaw` [3] at its joint, rest elsewhere."""
    rotations = torch.zeros(len(model.joint_names), 3)
    rotations[model.joint_names.index("jaw")] = padded(jaw, 3)
    return rotations


def seen_fit(
    portrait: Portrait,
    model: HeadModel,
    crop: Crop,
    *,
    identity: Tensor,  # [<= K]
    expression: Tensor,  # [<= E]
    jaw: Tensor,  # [3] axis-angle
    turn: Tensor,  # [3] axis-angle of the root
    camera: Tensor,  # [3] s, tx, ty
) -> HeadFit:
    """A fit of what a network saw in its crop in weak perspective, see `flame_camera`. Raises EstimationError."""
    own_identity = padded(identity, model.identity_size)
    own_expression = padded(expression, len(model.expression_names))
    rotations = jaw_rotations(model, jaw)
    mesh = model.mesh(own_identity, own_expression, rotations)
    height, width = portrait.height, portrait.width
    lens = LensPrior.for_image(height, width, portrait.focal)
    ours = pinhole(WeakPerspective.of_code(turn, camera, crop), mesh, model, height, width, lens)
    return flame_fit(portrait, model, own_identity, own_expression, rotations, ours)


def flame_fit(
    portrait: Portrait, model: HeadModel, identity: Tensor, expression: Tensor, rotations: Tensor, camera: Cameras
) -> HeadFit:
    """A fit of known coefficients and camera, with visibility, residuals, confidence, and the photo's hair.

    Raises:
        EstimationError: the median landmark is off by more than 10 % of the inter-ocular distance.
    """
    mesh = model.mesh(identity, expression, rotations)
    residual = landmark_residual(mesh, camera, portrait)
    median = float(residual.nanmedian())
    if not median < HOPELESS_RESIDUAL:
        raise EstimationError(
            f"The network's head misses this photo: half of its landmarks are off by more than {median:.0%} of the "
            "distance between the eyes. Use a photo in which the face is clearly visible, or the default estimator."
        )
    fit = HeadFit(
        model.name,
        model.version,
        identity,
        expression,
        rotations,
        torch.zeros_like(model.template),
        camera,
        vertex_visibility(mesh, camera),
        residual,
        confidence(median, identity.double().numpy(), camera.azimuths.item()),
    )
    dressed = replace(fit, offsets=hair_offsets(portrait, mesh, camera, model))
    return replace(dressed, hair=hanging_hair(portrait, dressed.mesh(model), camera, model))


def landmark_residual(mesh: HeadMesh, camera: Cameras, portrait: Portrait) -> Tensor:
    """[478] distance to the photo's landmarks over the inter-ocular distance; NaN where the head has none.

    The inter-ocular distance is the head's own between the eyes' outer corners, in pixels at their depth.
    """
    points = mesh.landmarks()
    corners = points[[RIGHT_EYE_OUTER, LEFT_EYE_OUTER]]
    depth = camera.to_camera(corners)[0, :, 2].mean()
    interocular = camera.intrinsics[0, 0, 0] * (corners[0] - corners[1]).norm() / depth
    known = torch.isfinite(points).all(-1)
    residual = torch.full((len(points),), torch.nan)
    pixels = camera.project(points[known])[0][0]
    detected = torch.from_numpy(np.ascontiguousarray(portrait.landmarks[:, :2])).float()
    residual[known] = (pixels - detected[known]).norm(dim=-1) / interocular
    return residual
