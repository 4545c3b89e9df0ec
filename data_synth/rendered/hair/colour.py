"""The colour of strands: from root to tip, from lock to lock, and grey."""

from __future__ import annotations

import torch
from torch import Tensor

from gen3dface.data_synth.rendered.hair.style import HairStyle

_GREY = (0.36, 0.355, 0.345)  # linear albedo of hair without pigment


def strand_colour(style: HairStyle, lock: Tensor, points: int, generator: torch.Generator) -> Tensor:
    """Linear albedo [S, points, 3] of strands in locks [S]."""
    count = len(lock)
    own = torch.rand(count, generator=generator)
    shared = torch.rand(int(lock.max()) + 1 if count else 1, generator=generator)[lock.cpu()]
    along = torch.linspace(0, 1, points)
    rise = (along / 0.9).clamp(max=1) ** 2 * (3 - 2 * (along / 0.9).clamp(max=1))
    tone = (0.75 + 0.5 * own) * (0.75 + 0.5 * shared)
    bright = tone[:, None] * (style.root + (style.tip - style.root) * rise)
    colour = bright[..., None] * torch.tensor(style.colour)
    grey = (torch.rand(count, generator=generator) * 0.7 + shared * 0.3) < style.grey
    faded = torch.tensor(_GREY) * (0.65 + 0.55 * own)[:, None, None]
    colour = torch.where(grey[:, None, None], torch.lerp(colour, faded.expand_as(colour), 0.75), colour)
    return colour.clamp(0, 1).to(lock.device)


def taper(width: float, count: int, points: int, generator: torch.Generator) -> Tensor:
    """Widths [S, points] in metres: thin at the root's very start and toward the tip."""
    along = torch.linspace(0, 1, points)
    shape = (1 - 0.55 * along**2) * (0.5 + 0.5 * (along / 0.12).clamp(max=1))
    return width * (0.7 + 0.3 * torch.rand(count, 1, generator=generator)) * shape


def mean_colour(style: HairStyle, brightness: float = 1.0) -> tuple[float, float, float]:
    """Linear albedo of a style's hair near the roots, grey strands mixed in."""
    share = 0.75 * style.grey
    mixed = [(1 - share) * style.root * c + share * g for c, g in zip(style.colour, _GREY, strict=True)]
    return brightness * mixed[0], brightness * mixed[1], brightness * mixed[2]
