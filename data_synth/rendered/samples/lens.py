"""The camera that takes the photo."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from gen3dface.cameras import Cameras

_YAW_LIMIT = 60.0  # degrees
_PITCH, _PITCH_LIMIT = 7.0, 22.0
_ROLL, _ROLL_LIMIT = 5.0, 18.0
_FIELD = (10.0, 60.0)  # degrees over the picture's side
_DISTANCE = (0.45, 2.5)  # metres
_HEIGHT = (0.24, 0.42)  # metres of the head's plane that fill the picture


def random_lens(generator: np.random.Generator, size: int, yaw_limit: float = _YAW_LIMIT) -> Cameras:
    """One camera before the head for a square picture of `size` px.

    Yaw lies mostly within 25 degrees, at most `yaw_limit`; distance and framing follow each other, so that the field of
    view stays within 10 to 60 degrees. The principal point is the picture's centre, as of an uncropped photo.
    """
    yaw = np.clip(generator.normal(0, 15) if generator.random() < 0.7 else generator.uniform(-60, 60), -60, 60)
    yaw *= min(1.0, yaw_limit / _YAW_LIMIT)
    pitch = np.clip(generator.normal(0, _PITCH), -_PITCH_LIMIT, _PITCH_LIMIT)
    roll = np.clip(generator.normal(0, _ROLL), -_ROLL_LIMIT, _ROLL_LIMIT)
    distance = float(np.exp(generator.uniform(*np.log(_DISTANCE))))
    height = generator.uniform(*_HEIGHT)
    field = np.clip(2 * np.degrees(np.arctan(height / (2 * distance))), *_FIELD)
    focal = size / (2 * np.tan(np.radians(field) / 2))
    height = size * distance / focal
    turned = Rotation.from_euler("zxy", [roll, pitch, yaw], degrees=True).as_matrix()
    transform = np.eye(4)
    transform[:3, :3] = np.diag([1.0, -1.0, -1.0]) @ turned
    spare = 0.5 * (height - 0.22)  # metres that the face may lie off the centre
    transform[:3, 3] = [generator.uniform(-1, 1) * 0.5 * spare, generator.uniform(-0.5, 0.7) * spare, distance]
    intrinsics = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    return Cameras(torch.from_numpy(transform)[None].float(), torch.from_numpy(intrinsics)[None].float(), size, size)
