"""What makes single strands a head of hair: locks that gather them, curls, frizz."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.data_synth.rendered.hair.noise import smooth_noise
from gen3dface.data_synth.rendered.hair.style import HairStyle
from gen3dface.data_synth.rendered.hair.vectors import unit


def resample(lines: Tensor, lengths: Tensor, count: int) -> Tensor:
    """Polylines [S, K, 3], cut at arc lengths [S] -> [S, count, 3], evenly spaced."""
    step = (lines[:, 1:] - lines[:, :-1]).norm(dim=-1)
    arc = F.pad(torch.cumsum(step, 1), (1, 0))
    goal = torch.linspace(0, 1, count).to(lines) * torch.minimum(lengths, arc[:, -1])[:, None]
    high = torch.searchsorted(arc, goal).clamp(1, lines.shape[1] - 1)
    low_arc, high_arc = arc.gather(1, high - 1), arc.gather(1, high)
    part = ((goal - low_arc) / (high_arc - low_arc).clamp(min=1e-9)).clamp(0, 1)[..., None]
    index = high[..., None].expand(-1, -1, 3)
    return torch.lerp(lines.gather(1, index - 1), lines.gather(1, index), part)


def assign_locks(rest: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Leaders [L] among strands rooted at rest [S, 3], and each strand's lock [S]: the nearest leader's."""
    leaders = torch.randperm(len(rest), generator=generator)[: max(1, min(count, len(rest)))].to(rest.device)
    return leaders, torch.cdist(rest, rest[leaders]).argmin(1)


def gather(lines: Tensor, leaders: Tensor, lock: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Pull strands [S, P, 3] toward their leaders, more toward the tips; those that end far apart less."""
    leader = lines[leaders[lock]]
    along = torch.linspace(0, 1, lines.shape[1]).to(lines)[:, None] ** 0.8
    own = (0.5 + 0.5 * torch.rand(len(lines), 1, 1, generator=generator)).to(lines)
    apart = (leader[:, -1] - lines[:, -1]).norm(dim=-1)
    near = (0.06 / (apart + 1e-3)).clamp(max=1)[:, None, None]
    return torch.lerp(lines, leader, strength * along * own * near)


def wind(lines: Tensor, leaders: Tensor, lock: Tensor, style: HairStyle, generator: torch.Generator) -> Tensor:
    """Wind strands [S, P, 3] into helices that share radius, pitch, sense and (but for `coil`) phase in a lock.

    Pitch and phase drift along a lock, so that neighbouring curls do not line up into a pattern.
    """
    count, device = len(leaders), lines.device
    drawn = {
        name: torch.randn(count, generator=generator).to(device) for name in ("pitch", "radius", "drift", "phase2")
    }
    sense = (torch.randint(0, 2, (count,), generator=generator) * 2 - 1).to(lines)
    phase = (torch.rand(count, generator=generator) * 6.2832).to(device)[lock]
    phase = phase + style.coil * torch.randn(len(lines), generator=generator).to(device) * 3.1416
    arc = F.pad(torch.cumsum((lines[:, 1:] - lines[:, :-1]).norm(dim=-1), 1), (1, 0))
    pitch = style.turns * torch.exp(drawn["pitch"] * 0.25)[lock] * sense[lock]
    drift = 1.2 * torch.sin(arc * 45 + drawn["phase2"][lock][:, None] * 3) * drawn["drift"][lock][:, None]
    angle = (phase[:, None] + 6.2832 * pitch[:, None] * arc + drift)[..., None]
    u, v = _frame(lines[leaders])
    grown = (arc / 0.025).clamp(0, 1)
    own = torch.exp(0.2 * torch.randn(len(lines), generator=generator)).to(device)
    radius = style.curl * torch.exp(drawn["radius"] * 0.3)[lock] * own
    return lines + (grown * radius[:, None])[..., None] * (torch.cos(angle) * u[lock] + torch.sin(angle) * v[lock])


def frizz(lines: Tensor, lock: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Bend strands [S, P, 3] by noise that a lock shares, and some single ones (fly-aways) by their own."""
    count, device = int(lock.max()) + 1, lines.device
    along = torch.linspace(0, 1, lines.shape[1]).to(lines)[:, None]
    shared = torch.randn(count, 1, 3, generator=generator).to(device)[lock] * 0.03
    single = torch.randn(len(lines), 1, 3, generator=generator).to(device) * 0.03
    astray = (torch.randn(len(lines), 1, 1, generator=generator).to(device) ** 2 * strength).clamp(max=1.2)
    bend = smooth_noise(lines + shared, 25, generator) * strength * 0.01
    own = smooth_noise(lines + single, 35, generator) * astray * 0.0045
    return lines + (bend + own) * along


def _frame(lines: Tensor) -> tuple[Tensor, Tensor]:
    """Two unit vectors [L, P, 3] across each polyline."""
    tangent = unit(torch.gradient(lines, dim=1)[0])
    aside = torch.tensor([0.3, 0.2, 1.0]).to(lines).expand_as(tangent)
    u = unit(torch.linalg.cross(tangent, aside))
    return u, torch.linalg.cross(tangent, u)
