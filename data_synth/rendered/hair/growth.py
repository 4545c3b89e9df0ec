"""Growing loose hair on the mean head: all strands at once, step by step along their length.

A strand's direction relaxes toward a sum of three: off the scalp at first, along the comb for a while, then down. Near
the head it is pulled back, and it never enters the skin.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.data_synth.rendered.hair.head_field import HeadField
from gen3dface.data_synth.rendered.hair.noise import smooth_noise
from gen3dface.data_synth.rendered.hair.roots import Roots, above_hairline
from gen3dface.data_synth.rendered.hair.style import HairStyle
from gen3dface.data_synth.rendered.hair.vectors import unit

STEPS = 24
CLEARANCE = 0.0012  # m between the skin and hair
_BEND = 0.011  # m over which a direction changes by 1 - 1/e
_WHORL = (0.012, 0.1, -0.045)  # m: where short hair turns around, at the back of the top


def grow_loose(style: HairStyle, roots: Roots, field: HeadField, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Strands [S, STEPS, 3] on the mean head and the arc length [S] at which each is to be cut."""
    rest, normals = roots.rest, roots.normals
    fringe = in_fringe(rest, style)
    comb = _comb(style, rest, normals, fringe, generator)
    lengths = _lengths(style, rest, fringe, generator)
    layer = torch.rand(len(rest), generator=generator).to(rest) ** 0.7
    height = CLEARANCE + layer * style.volume * _fullness(rest, style)
    free = _off_the_face(rest, style.part) * (~fringe)[:, None]
    step = (lengths / (STEPS - 1))[:, None]
    bend = 1 - torch.exp(-step / (_BEND if style.comb != "up" else 0.05))
    down = rest.new_tensor([0.0, -1.0, 0.0])
    points, lines = rest, [rest]
    way = unit(normals * style.lift + comb * 0.5)
    distance, out = field.at(points)
    for number in range(1, STEPS):
        arc = step * number
        goal = normals * style.lift * torch.exp(-arc / 0.013) + comb * torch.exp(-arc / style.reach)
        goal = goal + down * style.gravity * (arc / 0.03).clamp(max=2) + free * torch.exp(-arc / 0.07)
        if style.comb == "up":
            goal = normals + 0.15 * comb
        way = unit(torch.lerp(way, F.normalize(goal, dim=-1), bend))
        away = ((distance - height) / 0.015).clamp(0, 1)[:, None] * style.hug * (arc / 0.02).clamp(max=1)
        way = unit(way - out * away)
        points = points + way * step
        distance, out = field.at(points)
        least = CLEARANCE + (height - CLEARANCE) * (arc[:, 0] / 0.025).clamp(max=1)
        inside = (least - distance).clamp(0, 0.015)[:, None]
        points, distance = points + out * inside, distance + inside[:, 0]
        into = (way * out).sum(-1, keepdim=True).clamp(max=0) * (inside > 0)
        way = unit(way - out * into)
        lines.append(points)
    grown = _smoothed(torch.stack(lines, 1))
    return grown, torch.minimum(lengths, _level_cut(style, grown, step[:, 0], fringe, rest, generator))


def in_fringe(rest: Tensor, style: HairStyle) -> Tensor:
    """Which roots [S] belong to the fringe."""
    if style.fringe is None:
        return torch.zeros(len(rest), dtype=torch.bool, device=rest.device)
    x, y, z = rest.unbind(-1)
    uneven = 0.006 * torch.sin(1300 * y + 700 * x)
    return (z > 0.02) & (above_hairline(rest) < 0.042 - 4 * x**2) & (x.abs() < 0.052 + uneven)


def _comb(style: HairStyle, rest: Tensor, normals: Tensor, fringe: Tensor, generator: torch.Generator) -> Tensor:
    """Unit directions [S, 3] in which hair is laid."""
    x, y, z = rest.unbind(-1)
    top = ((y - 0.055) / 0.03).clamp(0, 1)
    side = ((0.055 - y) / 0.05).clamp(0, 1)
    back = ((-z) / 0.05).clamp(0, 1)
    one = torch.ones_like(x)
    if style.comb == "parted":
        away = torch.tanh((x - style.part) / 0.006)
        comb = torch.stack([away * (0.6 + 0.6 * top), -0.35 - 0.5 * side, 0.3 - 0.55 * one * (0.3 + 0.7 * back)], -1)
    elif style.comb == "back":
        comb = torch.stack([0.25 * x.sign(), -0.15 - 0.6 * back, -1.2 * one], -1)
    else:
        comb = rest - rest.new_tensor(_WHORL)
        swirl = torch.linalg.cross(normals, comb)
        comb = unit(comb + 0.35 * swirl)
        comb = comb + torch.stack([0 * x, -0.5 * side, 0.3 * top], -1)
    forward = torch.stack([x / 0.05 * 0.12, -0.5 * one, 1.1 * one], -1)
    comb = torch.where(fringe[:, None], forward, comb)
    comb = comb + smooth_noise(rest, 22, generator) * 0.22
    comb = comb - normals * (comb * normals).sum(-1, keepdim=True) * 0.8
    return unit(comb)


def _lengths(style: HairStyle, rest: Tensor, fringe: Tensor, generator: torch.Generator) -> Tensor:
    own = torch.exp(0.12 * torch.randn(len(rest), generator=generator)).to(rest)
    depth = above_hairline(rest, style.recession).clamp(min=0)
    length = style.length * own
    if style.level is None:
        low = ((0.06 - rest[:, 1]) / 0.06).clamp(0, 1)
        length = length * (1 - (1 - style.sides) * low) * (0.3 + 0.7 * (depth / 0.025).clamp(max=1))
    if style.comb == "up":
        length = length * (1 + 0.16 * smooth_noise(rest, 40, generator)[:, 0].clamp(-1.5, 1.5))
    if style.fringe is not None:
        length = torch.where(fringe, 0.09 * own if style.level is not None else length.clamp(min=0.035), length)
    return length


def _fullness(rest: Tensor, style: HairStyle) -> Tensor:
    """Share [S] of the volume: cut sides lie flatter than the top."""
    if style.level is not None or style.comb == "up":
        return torch.ones_like(rest[:, 1])
    return 0.3 + 0.7 * (rest[:, 1] / 0.07).clamp(0, 1)


def _off_the_face(rest: Tensor, part: float) -> Tensor:
    """A push [S, 3] to the side for hair rooted over the forehead and the temples, so that the face stays free."""
    x, y, z = rest.unbind(-1)
    near = ((z - 0.03) / 0.025).clamp(0, 1) * ((0.085 - y) / 0.03).clamp(0, 1)
    to_side = torch.where(x.abs() > 0.01, x.sign(), torch.tanh((x - part) / 0.006))
    return near[:, None] * torch.stack([1.6 * to_side, 0 * x, -0.9 + 0 * x], -1)


def _smoothed(lines: Tensor) -> Tensor:
    for _ in range(2):
        inner = 0.25 * lines[:, :-2] + 0.5 * lines[:, 1:-1] + 0.25 * lines[:, 2:]
        lines = torch.cat([lines[:, :1], inner, lines[:, -1:]], 1)
    return lines


def _level_cut(
    style: HairStyle, lines: Tensor, step: Tensor, fringe: Tensor, rest: Tensor, generator: torch.Generator
) -> Tensor:
    """Arc lengths [S] at which strands first fall below the level cut (or the fringe's), with a soft edge."""
    count = len(lines)
    rough = (0.003 * torch.randn(count, generator=generator)).to(rest)
    layered = torch.empty(count).exponential_(1 / 0.006, generator=generator).to(rest)
    wave = 0.003 * smooth_noise(rest, 50, generator)[:, 0]
    height = torch.full((count,), -1.0).to(rest)
    if style.level is not None:
        height = style.level + rough + layered + wave
    if style.fringe is not None:
        height = torch.where(fringe, style.fringe + 0.6 * rough + 0.3 * wave - 6.0 * rest[:, 0] ** 2, height)
    below = lines[..., 1] < height[:, None]
    first = torch.where(below.any(1), below.to(torch.int8).argmax(1), STEPS).clamp(min=2)
    return first * step
