"""Several photos of one person: beliefs combined, one identity fitted, and each photo's own pose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from gen3dface.errors import EstimationError
from gen3dface.estimators.joint_fit import View, fit_together
from gen3dface.estimators.landmark_fit import FitState, fit_landmarks
from gen3dface.estimators.landmark_model import LandmarkModel
from gen3dface.estimators.priors import LensPrior, ShapePrior
from gen3dface.heads import HeadModel
from tests.estimators.synthetic import draw, shape_error, turned_by

EXACT = LensPrior(3000.0, 1e-3)


def unsized_error(landmarks: LandmarkModel, one: FitState, other: FitState) -> float:
    """As `shape_error`, but after scaling, since pictures do not show a head's size."""
    rest, ahead = np.zeros(landmarks.expression_size), np.zeros((2, 2))
    a, b = (landmarks.positions(state.identity, rest, ahead) for state in (one, other))
    a, b = a - a.mean(0), b - b.mean(0)
    return float(1000 * np.linalg.norm(a * (a * b).sum() / (a * a).sum() - b, axis=-1).mean())


def view(pixels: NDArray[np.float64], landmarks: LandmarkModel) -> View:
    return View(pixels, EXACT, np.zeros(landmarks.expression_size))


def test_one_photo_together_is_that_photo_alone(model: HeadModel, landmarks: LandmarkModel) -> None:
    pixels = draw(landmarks, model, 3, yaw=20).pixels
    alone, together = fit_landmarks(landmarks, pixels, EXACT), fit_together(landmarks, [view(pixels, landmarks)])[0]
    assert shape_error(landmarks, alone.state, together.state) < 0.01
    assert turned_by(alone.state, together.state) < 0.01


def test_noisy_photos_share_one_shape_that_is_nearer_than_any_alone(model: HeadModel, landmarks: LandmarkModel) -> None:
    scenes = [draw(landmarks, model, 4, yaw=yaw, expression=mood) for yaw, mood in ((-35, {}), (0, {}), (35, {}))]
    rng = np.random.default_rng(0)
    seen = [scene.pixels + rng.normal(0, 2.0, scene.pixels.shape) for scene in scenes]
    together = fit_together(landmarks, [view(pixels, landmarks) for pixels in seen], shared=1.0)
    alone = [fit_landmarks(landmarks, pixels, EXACT, shared=1.0) for pixels in seen]
    truth = scenes[0].state
    assert all(np.array_equal(fit.state.identity, together[0].state.identity) for fit in together)
    assert unsized_error(landmarks, together[0].state, truth) < min(
        unsized_error(landmarks, f.state, truth) for f in alone
    )
    for fit, scene in zip(together, scenes, strict=True):
        assert turned_by(fit.state, scene.state) < 1.0


def test_each_photo_keeps_its_own_expression(model: HeadModel, landmarks: LandmarkModel) -> None:
    scenes = [draw(landmarks, model, 6, yaw=10, expression=mood, spread=0.3) for mood in ({}, {"jawOpen": 0.8})]
    calm, open_mouthed = fit_together(landmarks, [view(scene.pixels, landmarks) for scene in scenes], shared=1.0)
    jaw = model.expression_names.index("jawOpen")
    assert calm.state.expression[jaw] < 0.1
    assert open_mouthed.state.expression[jaw] > 0.6


def test_the_order_of_photos_does_not_matter(model: HeadModel, landmarks: LandmarkModel) -> None:
    views = [view(draw(landmarks, model, 8, yaw=yaw).pixels, landmarks) for yaw in (-20, 15, 40)]
    one, other = fit_together(landmarks, views), fit_together(landmarks, views[::-1])
    assert shape_error(landmarks, one[0].state, other[-1].state) < 0.01


def test_no_photo_is_refused(landmarks: LandmarkModel) -> None:
    with pytest.raises(EstimationError, match="one photo or more"):
        fit_together(landmarks, [])


def test_a_bad_photo_among_good_ones_is_refused(model: HeadModel, landmarks: LandmarkModel) -> None:
    good = view(draw(landmarks, model, 1).pixels, landmarks)
    with pytest.raises(EstimationError, match="not numbers"):
        fit_together(landmarks, [good, replace(good, pixels=np.full((478, 2), np.nan))])


@pytest.mark.parametrize("common", [0.0, 0.4, 1.0])
def test_combined_beliefs_are_the_best_linear_estimate(common: float) -> None:
    """y_i = z + n_i, cov(n_i) = N, cov(n_i, n_j) = common N, z ~ N(0, P): Gaussian conditioning of z on all y."""
    rng = np.random.default_rng(0)
    prior, noise = (m @ m.T + np.eye(3) for m in rng.normal(size=(2, 3, 3)))
    seen, count = rng.normal(size=(4, 3)), 4
    measured = np.linalg.inv(np.linalg.inv(prior) + np.linalg.inv(noise))
    beliefs = [ShapePrior.from_covariance(measured @ np.linalg.solve(noise, y), measured) for y in seen]
    joint = np.kron(np.full((count, count), common) + (1 - common) * np.eye(count), noise)
    joint = joint + np.kron(np.ones((count, count)), prior)
    across = np.kron(np.ones((1, count)), prior)
    gain = across @ np.linalg.pinv(joint, 1e-9)
    mean, covariance = gain @ seen.ravel(), prior - gain @ across.T
    found = ShapePrior.combined(beliefs, ShapePrior.from_covariance(np.zeros(3), prior), common)
    assert np.allclose(found.mean, mean, atol=1e-6)
    assert np.allclose(np.linalg.inv(found.whitening.T @ found.whitening), covariance, atol=1e-5)


def test_beliefs_without_information_leave_the_population() -> None:
    population = ShapePrior.from_covariance(np.ones(2), np.diag([1.0, 4.0]))
    found = ShapePrior.combined([population] * 5, population, 0.0)
    assert np.allclose(found.mean, population.mean)
    with pytest.raises(ValueError, match="got 0"):
        ShapePrior.combined([], population, 0.0)


def test_a_belief_that_has_read_the_landmarks_is_held_tighter() -> None:
    open_minded = ShapePrior.standard(3)
    assert np.array_equal(open_minded.before_landmarks().whitening, np.eye(3))
    tight = replace(open_minded, landmarks_read=True).before_landmarks()
    assert np.allclose(np.linalg.inv(tight.whitening.T @ tight.whitening), 0.4 * np.eye(3))
