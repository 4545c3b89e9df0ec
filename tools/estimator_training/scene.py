"""What varies from picture to picture, and by how much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from gen3dface.cameras import Cameras
from gen3dface.estimators.landmark_model import EYE_JOINTS, gaze_rotation
from gen3dface.heads import HeadModel

Array = NDArray[np.float64]
SIZE = 256  # px of the pictures
FACE_HEIGHT = 0.19  # metres from chin to hairline, about
_SIDES = ("Left", "Right")
_PAIRED = 0.75  # how often both sides of the face do the same


@dataclass(frozen=True)
class Subject:
    """A random person in a random mood and pose."""

    identity: torch.Tensor  # [K]
    expression: torch.Tensor  # [52]
    rotations: torch.Tensor  # [J, 3]
    camera: Cameras


def random_subject(model: HeadModel, rng: np.random.Generator, spread: float, max_yaw: float) -> Subject:
    """`spread` scales the population's standard deviation; `max_yaw` in degrees."""
    identity = rng.normal(size=model.identity_size) * spread
    return Subject(
        torch.from_numpy(identity).float(),
        torch.from_numpy(random_expression(model.expression_names, rng)).float(),
        torch.from_numpy(_random_rotations(model, rng)).float(),
        random_camera(rng, max_yaw),
    )


def random_expression(names: tuple[str, ...], rng: np.random.Generator) -> Array:
    """A few small weights at once, half of the time none; mouthClose only as far as jawOpen."""
    weights = np.zeros(len(names))
    if rng.random() < 0.5:
        return weights
    for k in rng.choice(len(names), rng.integers(1, 5), replace=False):
        weight = rng.beta(1.2, 2.8)
        weights[k] = weight
        for side, other in (_SIDES, _SIDES[::-1]):
            twin = names[k].removesuffix(side) + other
            if names[k].endswith(side) and twin in names and rng.random() < _PAIRED:
                weights[names.index(twin)] = weight * rng.uniform(0.8, 1)
    jaw, close = names.index("jawOpen"), names.index("mouthClose")
    weights[close] = min(weights[close], weights[jaw])
    return weights


def random_camera(rng: np.random.Generator, max_yaw: float) -> Cameras:
    """A distance of 0.45-2.5 m (field of view 10-60 degrees), pitch mostly within 12 degrees, roll within 15."""
    yaw, roll = rng.uniform(-max_yaw, max_yaw), rng.uniform(-15, 15)
    pitch = np.clip(rng.normal(0, 7), -20, 20)
    turned = Rotation.from_euler("zxy", [roll, pitch, yaw], degrees=True).as_matrix()
    distance = np.exp(rng.uniform(np.log(0.45), np.log(2.5)))
    focal = rng.uniform(0.55, 0.8) * SIZE * distance / FACE_HEIGHT
    transform = np.eye(4)
    transform[:3, :3] = np.diag([1.0, -1.0, -1.0]) @ turned
    transform[:3, 3] = [*rng.uniform(-0.02, 0.02, 2), distance + 0.1]
    transform[1, 3] -= 0.03 * np.cos(np.radians(pitch))
    # the lens' axis is seldom at the crop's centre
    centre = SIZE / 2 + rng.uniform(-0.25, 0.25, 2) * SIZE * min(1.0, 0.5 / distance)
    transform[:2, 3] -= (centre - SIZE / 2) * transform[2, 3] / focal
    intrinsics = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]])
    return Cameras(torch.from_numpy(transform)[None].float(), torch.from_numpy(intrinsics)[None].float(), SIZE, SIZE)


def _random_rotations(model: HeadModel, rng: np.random.Generator) -> Array:
    """Both eyes look the same way, within about 15 degrees of ahead."""
    out = np.zeros((len(model.joint_names), 3))
    yaw, pitch = np.clip(rng.normal(0, [10, 6]), -22, 22)
    for name in EYE_JOINTS:
        turned, _, _ = gaze_rotation(np.radians(yaw + rng.normal(0, 1)), np.radians(pitch))
        out[model.joint_names.index(name)] = Rotation.from_matrix(turned).as_rotvec()
    return out
