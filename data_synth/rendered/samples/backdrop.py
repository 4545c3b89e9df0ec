"""What lies behind a person in a photo."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]


def random_backdrop(size: int, generator: np.random.Generator) -> Picture:
    """sRGB [S, S, 3] in 0..1: a studio's wall, a gradient, a blurred room or garden, seldom something sharp."""
    kind = generator.random()
    if kind < 0.12:
        return np.full((size, size, 3), generator.uniform(0.85, 1.0), np.float32)
    if kind < 0.4:
        return _studio(size, generator)
    out: Picture = _gradient(size, generator)
    for cells, most in ((3, 0.14), (6, 0.12), (12, 0.1), (40, 0.06)):
        strength = generator.uniform(0, most)
        drawn = generator.normal(0, 0.4 * strength * generator.random(), (cells, cells, 3))
        grey = generator.normal(0, strength, (cells, cells, 1))
        out += cv2.resize((drawn + grey).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    out = _clutter(out, generator)
    blur = np.exp(generator.uniform(np.log(0.4), np.log(9.0))) * size / 256
    out = np.asarray(cv2.GaussianBlur(out, (0, 0), blur), np.float32)
    if generator.random() < 0.25:
        out = _lights(out, generator)
    return np.clip(out, 0, 1).astype(np.float32)


def _colour(generator: np.random.Generator) -> NDArray[np.float32]:
    """[3] mostly muted."""
    grey = generator.uniform(0.08, 0.9)
    return np.clip(grey * np.exp(generator.normal(0, generator.choice([0.05, 0.25]), 3)), 0, 1).astype(np.float32)


def _gradient(size: int, generator: np.random.Generator) -> Picture:
    y, x = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    turn = generator.uniform(0, 2 * np.pi)
    share = np.clip(0.5 + x * np.cos(turn) + y * np.sin(turn), 0, 1)[..., None]
    return np.asarray(_colour(generator) * share + _colour(generator) * (1 - share), np.float32)


def _studio(size: int, generator: np.random.Generator) -> Picture:
    """Paper with a spot of light behind the head."""
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    cx, cy = generator.uniform(0.3, 0.7), generator.uniform(0.25, 0.7)
    fall = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / generator.uniform(0.1, 0.9))
    colour = _colour(generator)
    out = colour * (1 - generator.uniform(0, 0.5) * (1 - fall[..., None]))
    return np.clip(out + generator.normal(0, 0.004, out.shape), 0, 1).astype(np.float32)


def _clutter(out: Picture, generator: np.random.Generator) -> Picture:
    """Furniture, windows, trunks and leaves, roughly."""
    size = len(out)
    out = np.ascontiguousarray(out)
    for _ in range(generator.integers(0, 12)):
        colour = _colour(generator).tolist()
        centre = generator.integers(0, size, 2)
        extent = (size * generator.uniform(0.03, 0.35, 2)).astype(int)
        kind = generator.integers(3)
        if kind == 0:
            corners = cv2.boxPoints((centre.tolist(), extent.tolist(), generator.normal(0, 6)))
            cv2.fillConvexPoly(out, np.round(corners).astype(np.int32), colour, cv2.LINE_AA)
        elif kind == 1:
            cv2.ellipse(out, centre.tolist(), (extent // 2).tolist(), generator.uniform(0, 180), 0, 360, colour, -1)
        else:
            a, b = generator.integers(0, size, (2, 2)).tolist()
            cv2.line(out, a, b, colour, int(generator.integers(1, 1 + size // 20)), cv2.LINE_AA)
    return out


def _lights(out: Picture, generator: np.random.Generator) -> Picture:
    """Lamps out of focus."""
    size = len(out)
    spots = np.zeros((size, size, 3), np.float32)
    radius = int(size * generator.uniform(0.01, 0.05)) + 1
    for _ in range(generator.integers(3, 25)):
        colour = (generator.uniform(0.1, 0.5) * np.exp(generator.normal(0, 0.3, 3))).tolist()
        cv2.circle(spots, generator.integers(0, size, 2).tolist(), radius, colour, -1, cv2.LINE_AA)
    return np.asarray(out + cv2.GaussianBlur(spots, (0, 0), 0.8), np.float32)
