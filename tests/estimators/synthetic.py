"""Landmarks of a known head seen by a known camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from gen3dface.estimators.landmark_fit import FitState, project
from gen3dface.estimators.landmark_model import LandmarkModel
from gen3dface.heads import HeadModel

Array = NDArray[np.float64]
TO_OPENCV = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class Scene:
    """The truth and what a perfect detector sees of it."""

    state: FitState
    pixels: Array  # [478, 2] from the principal point


def draw(
    landmarks: LandmarkModel,
    model: HeadModel,
    seed: int = 0,
    yaw: float = 0.0,
    roll: float = 0.0,
    expression: dict[str, float] | None = None,
    gaze: tuple[float, float] = (0.0, 0.0),
    spread: float = 0.7,
) -> Scene:
    """A random identity at 1.3 m, focal length 3000 px; yaw and roll in degrees, gaze in radians."""
    rng = np.random.default_rng(seed)
    weights = np.zeros(landmarks.expression_size)
    for name, value in (expression or {}).items():
        weights[model.expression_names.index(name)] = value
    rotation = Rotation.from_euler("z", roll, degrees=True).as_matrix() @ TO_OPENCV
    rotation = rotation @ Rotation.from_euler("y", yaw, degrees=True).as_matrix()
    identity = rng.normal(size=landmarks.identity_size) * spread
    state = FitState(rotation, np.array([0.05, -0.08, 1.3]), 3000.0, identity, weights, np.array([gaze, gaze]))
    pixels = np.zeros((478, 2))
    pixels[landmarks.index] = project(landmarks, state)
    return Scene(state, pixels)


def shape_error(landmarks: LandmarkModel, one: FitState, other: FitState) -> float:
    """Mean distance of the neutral landmarks, millimetres, without alignment."""
    rest, ahead = np.zeros(landmarks.expression_size), np.zeros((2, 2))
    apart = landmarks.positions(one.identity, rest, ahead) - landmarks.positions(other.identity, rest, ahead)
    return float(1000 * np.linalg.norm(apart, axis=-1).mean())


def turned_by(one: FitState, other: FitState) -> float:
    """Degrees between two poses."""
    return float(np.degrees(Rotation.from_matrix(one.rotation @ other.rotation.T).magnitude()))
