"""Cloth as a texture over the frontal plane: colour, weave, folds, stripes, checks and prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

_SIDE = 256  # px of the texture
_SPAN = 0.8  # metres that it covers
_PATTERNS = {"plain": 0.72, "stripes": 0.1, "checks": 0.08, "print": 0.1}

Pattern = Literal["plain", "stripes", "checks", "print"]


@dataclass(frozen=True)
class Fabric:
    """A garment's look."""

    albedo: torch.Tensor  # [3, _SIDE, _SIDE] linear

    @staticmethod
    def uvs(vertices: torch.Tensor) -> torch.Tensor:
        """[V, 2] of vertices [V, 3] in metres; the back is the front's mirror image."""
        return torch.stack([vertices[:, 0] / _SPAN + 0.5, (vertices[:, 1] + 0.65) / _SPAN], -1).clamp(0, 1)


def random_fabric(generator: np.random.Generator, pale: bool = False, plain: bool = False) -> Fabric:
    """pale: as of shirts under jackets. plain: no pattern."""
    names = list(_PATTERNS)
    pattern = "plain" if plain else names[generator.choice(len(names), p=list(_PATTERNS.values()))]
    colour, second = random_dye(generator, pale), random_dye(generator, False)
    share = _share(pattern, generator)[..., None]
    albedo = colour * (1 - share) + second * share
    weave = generator.standard_normal((_SIDE, _SIDE), np.float32) * generator.uniform(0.01, 0.06)
    folds = cv2.resize(generator.standard_normal((9, 14), np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
    albedo = albedo * np.exp(weave + folds * generator.uniform(0.02, 0.09))[..., None]
    return Fabric(torch.from_numpy(np.clip(albedo, 0.005, 0.9).astype(np.float32)).permute(2, 0, 1).contiguous())


def random_dye(generator: np.random.Generator, pale: bool) -> NDArray[np.float32]:
    """[3] linear: greys, blacks and whites as often as colours."""
    kind = generator.random()
    if pale or kind < 0.2:
        colour = np.full(3, generator.uniform(0.55, 0.85)) * np.exp(generator.normal(0, 0.04, 3))
    elif kind < 0.55:
        colour = np.full(3, np.exp(generator.uniform(-4.2, -1.0))) * np.exp(generator.normal(0, 0.08, 3))
    else:
        colour = np.exp(generator.uniform(-3.2, -0.9)) * np.exp(generator.normal(0, 0.55, 3))
    return np.clip(colour, 0.008, 0.85).astype(np.float32)


def _share(pattern: str, generator: np.random.Generator) -> NDArray[np.float32]:
    """[_SIDE, _SIDE] in 0..1 of the second colour."""
    y, x = np.mgrid[:_SIDE, :_SIDE].astype(np.float32) * (_SPAN / _SIDE)
    period, width = generator.uniform(0.012, 0.06), generator.uniform(0.2, 0.5)
    level = ((y / period) % 1 < width).astype(np.float32)
    upright = ((x / period) % 1 < width).astype(np.float32)
    if pattern == "stripes":
        return level if generator.random() < 0.7 else upright
    if pattern == "checks":
        return 0.4 * level + 0.4 * upright
    if pattern == "print":
        field = cv2.resize(generator.standard_normal((6, 6), np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
        middle = np.exp(-(((x - _SPAN / 2) / 0.1) ** 2) - ((y - 0.45) / 0.1) ** 2)
        return np.clip((field + 0.4) * 4, 0, 1).astype(np.float32) * (middle if generator.random() < 0.6 else 1.0)
    return np.zeros((_SIDE, _SIDE), np.float32)
