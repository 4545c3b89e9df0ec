"""The bundled regressor, and the belief about shape that it gives the fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from gen3dface.estimators.priors import ShapePrior
from gen3dface.estimators.regression import bundled_regressor, frontalise, model_digest, regressor_for
from gen3dface.heads import HeadModel, load_head_model

NO_EXPRESSION = np.zeros(52)


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_head_model()


def _detected(model: HeadModel, identity: NDArray[np.float64], turn: Rotation | None = None) -> NDArray[np.float64]:
    """[478, 3] as a perfect detector with orthographic depth would give them, 2000 px a metre."""
    points = model.mesh().landmarks().numpy().astype(np.float64)
    basis = model.identity_basis.numpy().astype(np.float64)[:, model.faces[model.landmark_faces].numpy()]
    weights = model.landmark_barycentric.numpy()[..., None]
    points = points + np.tensordot(identity, (basis * weights).sum(-2), 1)
    turned = points if turn is None else turn.apply(points)
    return turned * [2000, -2000, -2000] + [500, 600, 0]


def test_it_was_trained_for_the_bundled_head(model: HeadModel) -> None:
    assert bundled_regressor().model_digest == model_digest(model)
    assert regressor_for(model) is bundled_regressor()


def test_it_does_not_serve_another_head(model: HeadModel) -> None:
    assert regressor_for(replace(model, name="flame")) is None
    assert regressor_for(replace(model, template=model.template * 1.01)) is None


def test_frontalising_undoes_pose_place_and_size(model: HeadModel) -> None:
    reference = model.mesh().landmarks().numpy().astype(np.float64)
    trust = np.full(478, 1 / 478)
    turn = Rotation.from_euler("zxy", [30, -15, 40], degrees=True)
    aligned, rotations = frontalise(_detected(model, np.zeros(100), turn)[None], reference, trust)
    assert np.abs(aligned[0] - reference).max() < 1e-7
    assert np.allclose(rotations[0] @ turn.as_matrix(), np.eye(3), atol=1e-7)


def test_foreign_landmarks_are_recognised(model: HeadModel) -> None:
    detected = _detected(model, np.zeros(100))
    scrambled = np.random.default_rng(0).permutation(detected)
    assert bundled_regressor().predict(scrambled, NO_EXPRESSION) is None
    upside_in = detected * [1, 1, -3]
    assert bundled_regressor().predict(upside_in, NO_EXPRESSION) is None


def test_a_longer_face_is_regressed_longer(model: HeadModel) -> None:
    """The detector's depth is its own, so only the response of a change in the picture's plane can be checked."""
    base = bundled_regressor().reference[None] + bundled_regressor().centre.reshape(1, 478, 3)
    lengths = []
    for stretch in (0.97, 1.03):
        detected = base[0] * [2000, -2000 * stretch, -2000]
        prior = bundled_regressor().predict(detected, NO_EXPRESSION)
        assert prior is not None
        points = _detected(model, prior.mean)
        lengths.append((points[152, 1] - points[10, 1]) / (points[454, 0] - points[234, 0]))
    assert lengths[1] > lengths[0] * 1.01


def test_the_population_is_what_standardised_coefficients_are_standard_normal_in() -> None:
    population = bundled_regressor().population()
    root = np.linalg.cholesky(bundled_regressor().population_covariance)
    people = bundled_regressor().population_mean + np.random.default_rng(0).normal(size=(4000, 100)) @ root.T
    standardised = np.array([population.standardise(person) for person in people])
    assert np.abs(standardised.mean(0)).max() < 0.1
    assert np.abs(np.cov(standardised.T) - np.eye(100)).max() < 0.12


def test_a_photo_tells_more_than_the_population() -> None:
    regressor = bundled_regressor()
    assert np.linalg.eigvalsh(regressor.population_covariance).min() > 0
    assert np.trace(regressor.covariance) < np.trace(regressor.population_covariance)


def test_prior_from_covariance_whitens() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    prior = ShapePrior.from_covariance(rng.normal(size=6), root @ root.T)
    assert np.allclose(prior.whitening @ root @ root.T @ prior.whitening.T, np.eye(6))


def test_settling_the_size_leaves_the_rest() -> None:
    slope = np.array([0.04, 0.0, 0.0])
    prior = ShapePrior.standard(3).with_settled_size(slope, 0.01)
    covariance = np.linalg.inv(prior.whitening.T @ prior.whitening)
    assert np.allclose(covariance, np.diag([1 / 17, 1, 1]))
