"""The MAP fit against heads and cameras that are known exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from gen3dface.errors import EstimationError
from gen3dface.estimators import landmark_fit
from gen3dface.estimators.landmark_fit import FitProblem, fit_landmarks, project, residuals
from gen3dface.estimators.landmark_model import LandmarkModel, gaze_rotation
from gen3dface.estimators.priors import FitPriors, LensPrior, ShapePrior
from gen3dface.heads import HeadModel
from tests.estimators.synthetic import draw, shape_error, turned_by

EXACT = LensPrior(3000.0, 0.03)
TRUSTING = 3000.0  # landmarks known to a few thousandths of a pixel


def test_landmark_model_agrees_with_the_mesh(model: HeadModel, landmarks: LandmarkModel) -> None:
    scene = draw(landmarks, model, expression={"jawOpen": 0.4, "mouthSmileLeft": 0.7})
    mesh = model.mesh(torch.from_numpy(scene.state.identity).float(), torch.from_numpy(scene.state.expression).float())
    points = landmarks.positions(scene.state.identity, scene.state.expression, np.zeros((2, 2)))
    assert np.abs(points - mesh.landmarks().numpy()[landmarks.index]).max() < 1e-6


def test_gaze_turns_the_iris_as_the_skeleton_does(model: HeadModel, landmarks: LandmarkModel) -> None:
    gaze = np.array([[0.2, -0.1], [0.15, 0.05]])
    rotations = torch.zeros(len(model.joint_names), 3)
    for eye, name in enumerate(("left_eye", "right_eye")):
        from scipy.spatial.transform import Rotation

        vector = Rotation.from_matrix(gaze_rotation(*gaze[eye])[0]).as_rotvec()
        rotations[model.joint_names.index(name)] = torch.from_numpy(vector).float()
    mesh = model.mesh(rotations=rotations)
    points = landmarks.positions(np.zeros(landmarks.identity_size), np.zeros(landmarks.expression_size), gaze)
    assert np.abs(points - mesh.landmarks().numpy()[landmarks.index]).max() < 1e-5


def test_derivatives_match_finite_differences(model: HeadModel, landmarks: LandmarkModel) -> None:
    state = draw(landmarks, model, 3, yaw=25, roll=10, expression={"jawOpen": 0.3}, gaze=(0.1, -0.05)).state
    state = replace(state, expression=state.expression + 1e-3)  # away from the bounds
    count = len(landmarks.index)
    nothing = np.zeros(landmarks.expression_size)
    standard = ShapePrior.standard(landmarks.identity_size)
    problem = FitProblem(landmarks, np.zeros((count, 2)), np.ones(count), standard, nothing, EXACT, FitPriors())
    _, jacobian = residuals(problem, state)
    for unknown in range(len(jacobian)):
        step = np.zeros(len(jacobian))
        step[unknown] = 1e-6
        ahead, behind = (project(landmarks, landmark_fit.advance(state, s)) for s in (step, -step))
        numeric = (ahead - behind) / 2e-6
        assert np.abs(numeric - jacobian[unknown]).max() < 1e-5 * (np.abs(numeric).max() + 1)


@pytest.mark.parametrize(("yaw", "roll"), [(0, 0), (30, 0), (-60, 0), (20, 170), (60, -90)])
def test_exact_landmarks_give_back_shape_and_pose(
    model: HeadModel, landmarks: LandmarkModel, yaw: float, roll: float
) -> None:
    scene = draw(landmarks, model, abs(yaw), yaw, roll, {"mouthSmileLeft": 0.5, "browInnerUp": 0.4}, (0.1, -0.05))
    fit = fit_landmarks(landmarks, scene.pixels, EXACT, expression=scene.state.expression, shared=TRUSTING)
    assert shape_error(landmarks, fit.state, scene.state) < 0.3
    assert turned_by(fit.state, scene.state) < 0.2
    assert np.median(fit.residual) / fit.interocular < 1e-4
    assert np.abs(fit.state.gaze - scene.state.gaze).max() < 0.03


def test_closed_left_eye_is_eye_blink_left(model: HeadModel, landmarks: LandmarkModel) -> None:
    scene = draw(landmarks, model, 5, yaw=10, expression={"eyeBlinkLeft": 0.9}, spread=0.3)
    found = fit_landmarks(landmarks, scene.pixels, EXACT, shared=1.0).state.expression
    weight = dict(zip(model.expression_names, found, strict=True))
    assert weight["eyeBlinkLeft"] > 0.4
    assert weight["eyeBlinkRight"] < 0.1


@pytest.mark.parametrize("name", ["jawOpen", "mouthSmileRight", "browOuterUpLeft", "mouthPucker"])
def test_an_expression_is_found_without_being_expected(model: HeadModel, landmarks: LandmarkModel, name: str) -> None:
    scene = draw(landmarks, model, 6, expression={name: 0.8}, spread=0.3)
    found = fit_landmarks(landmarks, scene.pixels, EXACT, shared=1.0).state.expression
    assert found[model.expression_names.index(name)] > 0.25
    assert (found >= 0).all() and (found <= 1).all()


def test_roll_turns_the_pose_alone(model: HeadModel, landmarks: LandmarkModel) -> None:
    upright, rolled = (draw(landmarks, model, 7, yaw=20, roll=roll) for roll in (0, 120))
    fits = [fit_landmarks(landmarks, scene.pixels, LensPrior(3000.0, 0.03)).state for scene in (upright, rolled)]
    # the head is off the axis, so turning the head is not quite turning the picture
    assert shape_error(landmarks, *fits) < 0.25
    assert turned_by(fits[1], fits[0]) == pytest.approx(120, abs=1)


def test_a_photo_of_twice_the_size_gives_the_same_head(model: HeadModel, landmarks: LandmarkModel) -> None:
    scene = draw(landmarks, model, 8, yaw=15)
    small = fit_landmarks(landmarks, scene.pixels, EXACT).state
    large = fit_landmarks(landmarks, 2 * scene.pixels, LensPrior(6000.0, 0.03)).state
    assert shape_error(landmarks, small, large) < 1e-3
    assert large.focal == pytest.approx(2 * small.focal, rel=1e-4)
    assert np.allclose(large.translation, small.translation, atol=1e-5)


def test_a_shifted_photo_moves_the_pose_alone(model: HeadModel, landmarks: LandmarkModel) -> None:
    scene = draw(landmarks, model, 10, yaw=15)
    shift = np.array([40.0, -25.0])
    here, there = (fit_landmarks(landmarks, scene.pixels + s, EXACT) for s in (np.zeros(2), shift))
    assert shape_error(landmarks, here.state, there.state) < 0.2
    assert turned_by(here.state, there.state) < 1.5
    moved = project(landmarks, there.state) - project(landmarks, here.state)
    assert np.abs(moved - shift).max() < 0.01 * here.interocular


def test_a_settled_size_stays(model: HeadModel, landmarks: LandmarkModel) -> None:
    slope = landmarks.size_slope()
    prior = ShapePrior.standard(landmarks.identity_size).with_settled_size(slope)
    for seed in range(3):
        fit = fit_landmarks(landmarks, draw(landmarks, model, 20 + seed, spread=1.0).pixels, EXACT, prior)
        assert abs(slope @ fit.state.identity) < 0.012


def test_outliers_hardly_move_the_fit(model: HeadModel, landmarks: LandmarkModel) -> None:
    scene = draw(landmarks, model, 9, spread=0.3)
    clean = fit_landmarks(landmarks, scene.pixels, EXACT).state
    spoilt = scene.pixels.copy()
    spoilt[np.random.default_rng(0).choice(478, 20, replace=False)] += 60.0
    assert shape_error(landmarks, fit_landmarks(landmarks, spoilt, EXACT).state, clean) < 0.6


def test_bad_numbers_are_refused(landmarks: LandmarkModel) -> None:
    with pytest.raises(EstimationError, match="not numbers"):
        fit_landmarks(landmarks, np.full((478, 2), np.nan), EXACT)
    with pytest.raises(EstimationError, match="one spot"):
        fit_landmarks(landmarks, np.full((478, 2), 3.0), EXACT)
