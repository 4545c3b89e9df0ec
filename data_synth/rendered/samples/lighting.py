"""Light for a photo and its true views: a soft surrounding and up to three lamps, exposed for the face."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from gen3dface.data_synth.rendered.lights import Light

_EXPOSURE = (0.78, 1.12)  # irradiance / pi of a surface that faces the camera


def random_light(generator: np.random.Generator) -> Light:
    """Mostly even light, sometimes a hard key from the side, a rim from behind; colour casts within a few percent."""
    ambient = np.zeros((9, 3))
    level = generator.uniform(0.35, 0.9)
    ambient[0] = level * np.exp(generator.normal(0, 0.03, 3))
    ambient[1] = level * (generator.normal(0, 0.12) + generator.normal(0, 0.02, 3))
    ambient[2] = level * (generator.uniform(0.0, 0.35) + generator.normal(0, 0.02, 3))
    ambient[3] = level * (generator.normal(0.12, 0.12) + generator.normal(0, 0.02, 3))
    ambient[4:] = level * generator.normal(0, 0.03, (5, 1))
    directions, colours = [], []
    if generator.random() < 0.85:
        azimuth = np.clip(generator.normal(0, 40), -85, 85)
        directions.append(_toward(azimuth, generator.uniform(0, 60)))
        colours.append(generator.uniform(0.15, 0.9) * np.exp(generator.normal(0, 0.05, 3)))
    if generator.random() < 0.4:
        directions.append(_toward(generator.uniform(-75, 75), generator.uniform(-10, 45)))
        colours.append(generator.uniform(0.05, 0.3) * np.exp(generator.normal(0, 0.08, 3)))
    if generator.random() < 0.35:
        directions.append(_toward(generator.choice([-1, 1]) * generator.uniform(110, 170), generator.uniform(10, 60)))
        colours.append(generator.uniform(0.1, 0.7) * np.exp(generator.normal(0, 0.08, 3)))
    front = ambient[0] + ambient[3] + 2 * ambient[6]
    for direction, colour in zip(directions, colours, strict=True):
        front = front + colour * max(direction[2], 0.0)
    gain = generator.uniform(*_EXPOSURE) / front.mean()
    lamps = np.array([[*direction, 0.0] for direction in directions]).reshape(-1, 4)
    return Light(
        torch.from_numpy(ambient * gain).float(),
        torch.from_numpy(lamps).float(),
        torch.from_numpy(np.array(colours).reshape(-1, 3) * gain).float(),
    )


def _toward(azimuth: float, elevation: float) -> np.ndarray:
    """[3] unit direction, degrees; azimuth 0 is before the face."""
    return Rotation.from_euler("xy", [-elevation, azimuth], degrees=True).apply([0.0, 0.0, 1.0])
