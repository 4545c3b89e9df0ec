"""Smooth random vector fields."""

from __future__ import annotations

import torch
from torch import Tensor

_WAVES = 5


def smooth_noise(points: Tensor, frequency: float, generator: torch.Generator) -> Tensor:
    """A sum of plane waves at points [..., 3]: [..., 3] of variance about 1 a channel.

    Args:
        points: metres. frequency: radians a metre of the slowest wave; the fastest is three times as fast.
        generator: on the CPU, so that every device draws the same.
    """
    speed = frequency * torch.linspace(1, 3, _WAVES)
    ways = torch.randn(3, _WAVES, generator=generator) * speed
    phase = torch.rand(_WAVES, generator=generator) * 6.2832
    mixing = torch.randn(_WAVES, 3, generator=generator) * (2 / _WAVES) ** 0.5
    device = points.device
    return torch.sin(points @ ways.to(device) + phase.to(device)) @ mixing.to(device)


def spread(low: float, high: float, generator: torch.Generator) -> float:
    """One number, evenly from low to high."""
    return low + (high - low) * torch.rand((), generator=generator).item()


def normal(mean: float, deviation: float, generator: torch.Generator) -> float:
    """One number from a Gaussian."""
    return mean + deviation * torch.randn((), generator=generator).item()


def pick(chances: dict[str, float], generator: torch.Generator) -> str:
    """One key, each by its share."""
    index = torch.multinomial(torch.tensor(list(chances.values())), 1, generator=generator)
    return list(chances)[int(index)]
