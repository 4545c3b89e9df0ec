"""Several photos, or frames, of one person -> a `HeadFit` each, all with the same identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gen3dface.errors import EstimationError
from gen3dface.estimators.default import expression_weights, head_fit, population_prior, with_hair
from gen3dface.estimators.head_fit import HeadFit
from gen3dface.estimators.joint_fit import View, fit_together
from gen3dface.estimators.landmark_fit import SHARED, LandmarkFit
from gen3dface.estimators.landmark_model import LandmarkModel
from gen3dface.estimators.pixel_reading import identity_in
from gen3dface.estimators.priors import LensPrior, ShapePrior
from gen3dface.estimators.uncertainty import uncertainties
from gen3dface.heads import HeadModel, load_head_model

if TYPE_CHECKING:
    from gen3dface.photo.portrait import Portrait

# The detector's errors on one person are alike from photo to photo; best on tuning heads of 0, 1/4, .. 1.
COMMON = 0.25


def estimate_together(portraits: Sequence[Portrait], model: HeadModel | None = None) -> list[HeadFit]:
    """The head of one person in several photos or frames: one shape, and each photo's own pose, lens and expression.

    Args:
        portraits: one photo or more, in any order; all of them count the same. Each one's focal length is taken from
            `portrait.focal` where it is known. A video is its frames.
        model: the head model to fit (default: OpenHead).

    Returns:
        a fit for each photo, in their order, with equal `identity`. Hair is each photo's own.

    Raises:
        EstimationError: there is no photo, or the head that all share misses half of the landmarks of one of them by
            more than 10 % of the inter-ocular distance.
    """
    model = model or load_head_model()
    fits = estimate_bald_together(portraits, model)
    return [with_hair(fit, portrait, model) for fit, portrait in zip(fits, portraits, strict=True)]


def estimate_bald_together(portraits: Sequence[Portrait], model: HeadModel) -> list[HeadFit]:
    """`estimate_together` without the hair: all that the faces tell."""
    landmarks = LandmarkModel.from_head(model)
    belief = common_prior(portraits, model)
    fits = fit_portraits(portraits, model, landmarks, belief)
    out = []
    known = uncertainties(fits, belief)
    for number, (fit, portrait, doubt) in enumerate(zip(fits, portraits, known, strict=True), start=1):
        try:
            found = head_fit(fit, landmarks, model, portrait.height, portrait.width)
            out.append(replace(found, uncertainty=doubt))
        except EstimationError as error:
            raise EstimationError(f"Photo {number} of {len(portraits)}, fitted as one person: {error}") from error
    return out


def fit_portraits(
    portraits: Sequence[Portrait], model: HeadModel, landmarks: LandmarkModel, belief: ShapePrior
) -> list[LandmarkFit]:
    """The joint landmark fit around a belief about the identity."""
    prior = belief.before_landmarks().with_settled_size(landmarks.size_slope())
    return fit_together(landmarks, [_view(p, model) for p in portraits], prior, SHARED / _excess(len(portraits)))


def common_prior(portraits: Sequence[Portrait], model: HeadModel) -> ShapePrior:
    """What landmarks and pixels say about the identity that all photos share; photos out of their range have no say.

    Raises:
        EstimationError: there is no photo.
    """
    if not portraits:
        raise EstimationError("A person is estimated from one photo or more, got none.")
    population = population_prior(model)
    told = [identity_in(portrait, model) for portrait in portraits]
    beliefs = [belief for belief in told if belief is not None]
    if len(beliefs) < 2:
        return beliefs[0] if beliefs else population
    return ShapePrior.combined(beliefs, population, COMMON)


def _excess(count: int) -> float:
    """By how much the photos' landmarks, whose errors they share, would count too much as independent ones."""
    return 1 + (count - 1) * COMMON


def _view(portrait: Portrait, model: HeadModel) -> View:
    centre = np.array([portrait.width, portrait.height]) / 2
    return View(
        portrait.landmarks[:, :2] - centre,
        LensPrior.for_image(portrait.height, portrait.width, portrait.focal),
        expression_weights(portrait.blendshapes, model),
    )
