"""Stand-ins for hair: a coloured, swollen scalp, and a shell that hangs behind or beside the face."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_COLOURS = np.array(
    [[0.03, 0.025, 0.02], [0.09, 0.06, 0.04], [0.22, 0.13, 0.08], [0.4, 0.26, 0.14], [0.65, 0.5, 0.3], [0.5, 0.5, 0.5],
     [0.8, 0.79, 0.77], [0.45, 0.18, 0.08]]
)  # fmt: skip


def random_colour(rng: np.random.Generator) -> Array:
    return np.clip(_COLOURS[rng.integers(len(_COLOURS))] * rng.uniform(0.6, 1.4) + rng.normal(0, 0.015, 3), 0, 1)


def scalp_share(template: Array, ears_bottom: float, forehead: float, rng: np.random.Generator) -> Array:
    """[V] in 0..1: how much each vertex of the rest head lies under hair; the hairline is drawn anew each time."""
    azimuth = np.abs(np.arctan2(template[:, 0], template[:, 2] - 0.02))
    front = forehead + rng.uniform(-0.008, 0.025)
    side = rng.uniform(-0.01, 0.03)
    nape = ears_bottom + rng.uniform(-0.02, 0.03)
    line = np.interp(
        azimuth, [0, 0.45, 0.8, 1.25, 1.75, 2.3, np.pi], [front, front, front - 0.02, side, side, nape, nape]
    )
    wave = 0.004 * np.sin(azimuth * rng.uniform(3, 9) + rng.uniform(0, 6))
    return np.clip((template[:, 1] - line + wave) / rng.uniform(0.002, 0.012), 0, 1)


def curtain(rng: np.random.Generator, crown: float) -> tuple[Array, NDArray[np.int64]]:
    """A shell around the head, open in front: vertices [N, 3] metres and triangles [M, 3]."""
    rows, columns = 14, 40
    opening = rng.uniform(0.9, 1.7)  # radians from the front
    bottom = rng.uniform(-0.22, -0.02)
    azimuth = np.linspace(opening, 2 * np.pi - opening, columns)
    height = np.linspace(crown, bottom, rows)[:, None]
    share = np.clip((crown - height) / 0.09, 0, 1)
    swell = np.sqrt(1 - (1 - share) ** 2) * (1 + rng.uniform(0, 0.25)) + 0.05
    noise = 1 + 0.04 * np.sin(azimuth * rng.integers(5, 12) + rng.uniform(0, 6)) + 0.03 * np.sin(height * 60)
    x, z = 0.092 * swell * noise * np.sin(azimuth), -0.005 + 0.1 * swell * noise * np.cos(azimuth)
    vertices = np.stack([x, np.broadcast_to(height, x.shape), z], -1).reshape(-1, 3)
    a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    faces = np.concatenate([np.stack([a, a + columns, a + 1], -1), np.stack([a + 1, a + columns, a + columns + 1], -1)])
    # seen from inside too: the same shell again, turned over
    return np.concatenate([vertices, vertices]), np.concatenate([faces, faces[:, ::-1] + len(vertices)])
