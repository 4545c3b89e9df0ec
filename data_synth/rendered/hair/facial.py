"""Beards and brows: short hair that moves with the skin under it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gen3dface.data_synth.rendered.hair.head_field import HeadField
from gen3dface.data_synth.rendered.hair.noise import pick, smooth_noise, spread
from gen3dface.data_synth.rendered.hair.roots import Roots, interpolate
from gen3dface.data_synth.rendered.hair.vectors import unit
from gen3dface.errors import ConfigError

BEARD_SHARES = {"none": 0.4, "stubble": 0.22, "moustache": 0.06, "goatee": 0.09, "full": 0.18, "long": 0.05}
_STRANDS = {"none": 0, "stubble": 3500, "moustache": 2600, "goatee": 3600, "full": 7000, "long": 7500}
_POINTS = 7
_TRIMMED = 0.0065  # m: longest hair over the mouth
_BROW_X = (0.009, 0.018, 0.03, 0.040, 0.048, 0.054)  # m, from the nose outward on the mean head
_BROW_Y = (0.0155, 0.019, 0.0225, 0.0235, 0.020, 0.015)
_BROW_HALF = (0.0035, 0.0042, 0.0036, 0.0028, 0.002, 0.001)  # half its thickness


@dataclass(frozen=True)
class FacialStyle:
    """Beard and brows, metres."""

    beard: str = "none"  # one of BEARD_SHARES
    length: float = 0.0
    reach: float = 0.0  # how far the beard's upper edge on the cheek is shifted up
    thickness: float = 1.0  # of the brows, relative; 0 leaves them to the skin
    patchy: float = 0.3  # unevenness of the beard, 0..1

    def __post_init__(self) -> None:
        if self.beard not in BEARD_SHARES:
            raise ConfigError(f"There is no beard named {self.beard!r}; choose one of {', '.join(BEARD_SHARES)}.")


def sample_facial(generator: torch.Generator, beard: str | None = None, brows: bool = True) -> FacialStyle:
    """Random facial hair; the generator is on the CPU.

    Args:
        beard: one of `BEARD_SHARES`, drawn where None. brows: whether there are strands on the brows.
    """
    kind = pick(BEARD_SHARES, generator) if beard is None else beard
    spans = {"stubble": (0.0012, 0.0025), "full": (0.008, 0.024), "long": (0.04, 0.09), "none": (0.0, 0.0)}
    length = spread(*spans.get(kind, (0.006, 0.014)), generator)
    thickness = spread(0.5, 1.2, generator) if brows else 0.0
    return FacialStyle(kind, length, spread(-0.006, 0.008, generator), thickness, spread(0.1, 0.6, generator))


def beard_density(points: Tensor, style: FacialStyle, generator: torch.Generator) -> Tensor:
    """How densely the beard grows, 0..1, at points [..., 3] of the mean head."""
    if style.beard == "none":
        return torch.zeros_like(points[..., 0])
    x, y, z = points[..., 0].abs(), points[..., 1], points[..., 2]
    lips = ((x / 0.026) ** 2 + ((y + 0.068) / 0.0105) ** 2).sqrt()
    cheek = interpolate(x, (0, 0.025, 0.045, 0.06, 0.07), (-0.056, -0.06, -0.064, -0.046, -0.012)) + style.reach
    throat = interpolate(x, (0, 0.04, 0.07), (-0.126, -0.116, -0.084))
    clear = (lips - 1) * 0.02
    jaw = torch.stack([cheek - y, y - throat, z - 0.012, clear]).amin(0)
    moustache = torch.stack([-0.0485 - y, y + 0.064, 0.031 - x, z - 0.07, clear + 0.004]).amin(0)
    soul = torch.stack([0.004 - x, -0.079 - y, y + 0.09, z - 0.07]).amin(0)
    chin = torch.stack([0.028 - x, -0.076 - y, jaw]).amin(0)
    kinds = {"moustache": moustache, "goatee": torch.maximum(torch.maximum(moustache, chin), soul)}
    depth = kinds.get(style.beard, torch.maximum(jaw, torch.maximum(moustache, soul)))
    depth = depth + 0.002 * style.patchy * smooth_noise(points, 90, generator)[..., 0]
    return (depth / 0.006).clamp(0, 1)


def brow_density(points: Tensor, style: FacialStyle) -> Tensor:
    """How densely the brows grow, 0..1, at points [..., 3] of the mean head."""
    x, y = points[..., 0].abs(), points[..., 1]
    half = interpolate(x, _BROW_X, _BROW_HALF) * style.thickness
    off = (y - interpolate(x, _BROW_X, _BROW_Y)).abs()
    inside = (x > _BROW_X[0]) & (x < _BROW_X[-1]) & (points[..., 2] > 0.05)
    soft = ((half - off) / 0.0018 + 0.4).clamp(0, 1)
    return soft * inside * ((x - _BROW_X[0]) / 0.004).clamp(0, 1) * min(style.thickness * 2, 1)


def beard_count(style: FacialStyle) -> int:
    """Number of a beard's strands."""
    return _STRANDS[style.beard]


def grow_beard(style: FacialStyle, roots: Roots, density: Tensor, field: HeadField, g: torch.Generator) -> Tensor:
    """Strands [S, 7, 3] on the mean head: off the skin, then down, drawn in toward the chin's middle when long."""
    rest, count = roots.rest, len(roots)
    x, y, _ = rest.unbind(-1)
    low = 0.3 + 0.7 * ((-0.03 - y) / 0.05).clamp(0, 1)  # longest at the chin
    length = style.length * torch.exp(0.2 * torch.randn(count, generator=g)).to(rest) * (0.4 + 0.6 * density) * low
    over_lip = ((y + 0.066) / 0.006).clamp(0, 1) * (x.abs() < 0.035)  # a moustache: trimmed, swept to the sides
    length = torch.where(over_lip > 0, length.clamp(max=_TRIMMED), length)
    step = (length / (_POINTS - 1))[:, None]
    down = rest.new_tensor([0.0, -1.0, 0.12])
    aside = torch.stack([0.7 * torch.tanh(x / 0.006) * over_lip, 0 * x, 0 * x], -1)
    way = unit(roots.normals * 0.6 + down + aside + 0.3 * smooth_noise(rest, 60, g))
    long = min(style.length / 0.03, 1)
    inward = torch.stack([-0.22 * torch.tanh(x / 0.02), 0 * x, 0 * x], -1) * long
    points, lines = rest, [rest]
    for _ in range(_POINTS - 1):
        wander = (0.16 - 0.1 * long) * torch.randn(count, 3, generator=g).to(rest)
        way = unit(way + inward + 0.25 * down + wander)
        points = field.pushed_out(points + way * step, min(0.0008, style.length / 3))
        lines.append(points)
    return torch.stack(lines, 1)


def grow_brows(roots: Roots, field: HeadField, generator: torch.Generator) -> Tensor:
    """Strands [S, 4, 3] on the mean head, swept outward: up near the nose, down at the tail."""
    x = roots.rest[:, 0]
    part = ((x.abs() - 0.012) / 0.04).clamp(0, 1)
    way = torch.stack([x.sign(), 0.8 - 1.35 * part, -0.3 * part], -1)
    way = unit(way + 0.15 * torch.randn(len(x), 3, generator=generator).to(x))
    length = (0.0035 + 0.0035 * torch.rand(len(x), 1, 1, generator=generator)).to(x)
    lines = roots.rest[:, None] + way[:, None] * torch.linspace(0, 1, 4).to(x)[:, None] * length
    distance, out = field.at(lines)
    return lines - out * (distance - 0.0005)[..., None]
