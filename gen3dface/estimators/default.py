"""The default estimator: a photo's pixels, landmarks and expression weights -> HeadFit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from gen3dface.cameras import Cameras
from gen3dface.errors import EstimationError
from gen3dface.estimators.confidence import HOPELESS_RESIDUAL, confidence
from gen3dface.estimators.hanging_hair import hanging_hair
from gen3dface.estimators.head_fit import HeadFit
from gen3dface.estimators.landmark_fit import FitState, LandmarkFit, fit_landmarks
from gen3dface.estimators.landmark_model import EYE_JOINTS, LANDMARKS, LandmarkModel, gaze_rotation
from gen3dface.estimators.pixel_reading import identity_in
from gen3dface.estimators.priors import LensPrior, ShapePrior
from gen3dface.estimators.regression import regressor_for
from gen3dface.estimators.silhouette import hair_offsets
from gen3dface.estimators.uncertainty import uncertainties
from gen3dface.estimators.visibility import vertex_visibility
from gen3dface.heads import HeadModel, load_head_model
from gen3dface.photo.landmarks import BLENDSHAPE_NAMES

if TYPE_CHECKING:
    from gen3dface.photo.portrait import Portrait

Array = NDArray[np.float64]


def estimate(portrait: Portrait, model: HeadModel | None = None, *, focal: float | None = None) -> HeadFit:
    """The head in a photo: shape, expression, gaze, the hair's outline, and the camera that saw it.

    Args:
        model: the head model to fit (default: OpenHead).
        focal: focal length in pixels of `portrait.image`, if known (default: `portrait.focal`, from EXIF); where
            neither is, a portrait lens is assumed and refined.

    Raises:
        EstimationError: no head fits the landmarks within 10 % of the inter-ocular distance (median).
    """
    model = model or load_head_model()
    return with_hair(estimate_bald(portrait, model, focal=focal), portrait, model)


def with_hair(fitted: HeadFit, portrait: Portrait, model: HeadModel) -> HeadFit:
    """A bald fit with the photo's outline and hanging hair."""
    dressed = replace(fitted, offsets=hair_offsets(portrait, fitted.mesh(model), fitted.camera, model))
    return replace(dressed, hair=hanging_hair(portrait, dressed.mesh(model), dressed.camera, model))


def estimate_bald(portrait: Portrait, model: HeadModel, *, focal: float | None = None) -> HeadFit:
    """`estimate` without the hair's outline: all that the face tells."""
    landmarks = LandmarkModel.from_head(model)
    belief = regressed_prior(portrait, model)
    fit = fit_portrait(portrait, model, landmarks, belief, focal)
    found = head_fit(fit, landmarks, model, portrait.height, portrait.width)
    return replace(found, uncertainty=uncertainties([fit], belief)[0])


def regressed_prior(portrait: Portrait, model: HeadModel) -> ShapePrior:
    """What landmarks and pixels say about identity; the population where they do not apply.

    They do not apply to landmarks outside the training range (extreme poses, drawings), nor to other head models,
    which have their own population.
    """
    return identity_in(portrait, model) or population_prior(model)


def population_prior(model: HeadModel) -> ShapePrior:
    """How people vary: learned for OpenHead, every other model's own unit normal."""
    regressor = regressor_for(model)
    return ShapePrior.standard(model.identity_size) if regressor is None else regressor.population()


def fit_portrait(
    portrait: Portrait, model: HeadModel, landmarks: LandmarkModel, prior: ShapePrior, focal: float | None = None
) -> LandmarkFit:
    """The landmark fit around a belief about identity; the principal point is the photo's centre."""
    centre = np.array([portrait.width, portrait.height]) / 2
    return fit_landmarks(
        landmarks,
        portrait.landmarks[:, :2] - centre,
        LensPrior.for_image(portrait.height, portrait.width, focal or portrait.focal),
        prior.before_landmarks().with_settled_size(landmarks.size_slope()),
        expression_weights(portrait.blendshapes, model),
    )


def expression_weights(blendshapes: NDArray[np.float32], model: HeadModel) -> Array:
    """The expression network's [52] weights in the order of the model's expressions; 0 where it knows none."""
    known = dict(zip(BLENDSHAPE_NAMES, blendshapes.tolist(), strict=True))
    return np.array([known.get(name, 0.0) for name in model.expression_names])


def head_fit(fit: LandmarkFit, landmarks: LandmarkModel, model: HeadModel, height: int, width: int) -> HeadFit:
    """Package a fit of the landmarks for a photo of `height` x `width`, principal point at its centre.

    Raises:
        EstimationError: the median residual exceeds 10 % of the inter-ocular distance.
    """
    residual = np.full(LANDMARKS, np.nan)
    residual[landmarks.index] = fit.residual / fit.interocular
    median = float(np.nanmedian(residual))
    if not median < HOPELESS_RESIDUAL:
        raise EstimationError(
            f"No head fits these landmarks: half of them are off by more than {median:.0%} of the distance between "
            "the eyes. Use a photo in which the face is sharper, larger or less covered."
        )
    state = fit.state
    camera = _camera(state, height, width)
    identity, expression, rotations = _float(state.identity), _float(state.expression), _rotations(state, model)
    mesh = model.mesh(identity, expression, rotations)
    return HeadFit(
        model.name,
        model.version,
        identity,
        expression,
        rotations,
        torch.zeros_like(model.template),
        camera,
        vertex_visibility(mesh, camera),
        _float(residual),
        confidence(median, population_prior(model).standardise(state.identity), camera.azimuths.item()),
    )


def _camera(state: FitState, height: int, width: int) -> Cameras:
    transform = torch.eye(4)
    transform[:3, :3], transform[:3, 3] = _float(state.rotation), _float(state.translation)
    f = state.focal
    intrinsics = torch.tensor([[f, 0.0, width / 2], [0.0, f, height / 2], [0.0, 0.0, 1.0]])
    return Cameras(transform[None], intrinsics[None], height, width)


def _rotations(state: FitState, model: HeadModel) -> torch.Tensor:
    """[J, 3]: the gaze at the eyes' joints, rest elsewhere."""
    rotations = torch.zeros(len(model.joint_names), 3)
    for name, gaze in zip(EYE_JOINTS, state.gaze, strict=True):
        turned, _, _ = gaze_rotation(*gaze)
        rotations[model.joint_names.index(name)] = _float(Rotation.from_matrix(turned).as_rotvec())
    return rotations


def _float(values: Array) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values)).to(torch.float32)
