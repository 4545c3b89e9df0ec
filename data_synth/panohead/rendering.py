"""Volume rendering of features along rays, coarse and fine (Mildenhall et al., 2020; Max, 1995; EG3D, sec. 4.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

Field: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Points [B, P, 3] to features [B, P, C] and density before its softplus [B, P, 1]."""
Draws: TypeAlias = Callable[[Sequence[int]], Tensor]
"""Shape to numbers in 0..1."""


@dataclass(frozen=True)
class RenderingConfig:
    """How rays are sampled; lengths in the generator's units.

    Args:
        coarse, fine: samples of a ray, even ones and ones where there is something.
        near, far: where rays begin and end. side: of the cube that the planes span.
        crop: largest |x| and |z| where anything is, None for no limit.
    """

    coarse: int = 48
    fine: int = 48
    near: float = 2.25
    far: float = 3.3
    side: float = 1.0
    crop: float | None = 0.4


@dataclass(frozen=True)
class Rendered:
    """What R rays of B heads show."""

    features: Tensor  # [B, R, C] over nothing
    depth: Tensor  # [B, R, 1]
    opacity: Tensor  # [B, R, 1] in 0..1


def camera_rays(cameras: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Origins and unit directions [B, side * side, 3], row by row, of cameras [B, 25].

    A camera is 16 numbers of camera-to-world (OpenCV axes) and 9 of the intrinsics for a picture of side 1.
    """
    pose, lens = cameras[:, :16].view(-1, 4, 4), cameras[:, 16:].view(-1, 3, 3)
    middle = (torch.arange(side, device=cameras.device, dtype=cameras.dtype) + 0.5) / side
    y, x = torch.meshgrid(middle, middle, indexing="ij")
    pixels = torch.stack([x, y, torch.ones_like(x)], -1).reshape(-1, 3)
    directions = F.normalize(pixels @ torch.linalg.inv(lens).mT @ pose[:, :3, :3].mT, dim=-1)
    return pose[:, None, :3, 3].expand_as(directions), directions


def evenly(shape: Sequence[int]) -> Tensor:
    """Numbers in 0..1 that leave nothing to chance: evenly spaced along the last axis, in the middle if it is 1."""
    return ((torch.arange(shape[-1]) + 0.5) / shape[-1]).expand(*shape)


def render_rays(
    field: Field,
    origins: Tensor,
    directions: Tensor,
    config: RenderingConfig,
    draws: Draws = evenly,
    further: Tensor | None = None,
) -> Rendered:
    """What rays [B, R, 3] show.

    Args:
        draws: where samples lie within their strata; once for coarse, once for fine.
        further: [B] by how much near and far lie further out than in the configuration.
    """
    batch, rays, _ = origins.shape
    strata = torch.linspace(config.near, config.far, config.coarse).to(origins)
    step = (config.far - config.near) / (config.coarse - 1)
    if further is not None:
        strata = strata + further.to(strata)[:, None, None]
    depths = strata[..., None] + step * draws((batch, rays, config.coarse, 1)).to(origins)
    features, density = _at(field, origins, directions, depths, config)
    if config.fine:
        with torch.no_grad():
            weights = _composite(features, density, depths)[1]
            found = _importance(depths, weights, draws((batch * rays, config.fine)).to(origins))
        more = _at(field, origins, directions, found, config)
        depths, order = torch.cat([depths, found], 2).sort(2)
        pairs = ((features, more[0]), (density, more[1]))
        features, density = (
            torch.cat(pair, 2).gather(2, order.expand(-1, -1, -1, pair[0].shape[-1])) for pair in pairs
        )
    shown, weights, depth = _composite(features, density, depths)
    return Rendered(shown, depth.clamp(depths.min(), depths.max()), weights.sum(2))


def _at(
    field: Field, origins: Tensor, directions: Tensor, depths: Tensor, config: RenderingConfig
) -> tuple[Tensor, Tensor]:
    """Features [B, R, S, C] and density [B, R, S, 1] at depths [B, R, S, 1]."""
    points = (origins[:, :, None] + depths * directions[:, :, None]).flatten(1, 2)
    features, density = field(points)
    if config.crop is not None:
        outside = (points[..., ::2].abs() > config.crop).any(-1, keepdim=True)
        density = density.masked_fill(outside, -1e3)
    return features.unflatten(1, depths.shape[1:3]), density.unflatten(1, depths.shape[1:3])


def _composite(features: Tensor, density: Tensor, depths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shown features [B, R, C], weights of the S - 1 sections [B, R, S - 1, 1] and mean depth [B, R, 1].

    A section between two samples has the mean of their values.
    """
    lengths = depths.diff(dim=2)
    features, density, middle = ((t[:, :, :-1] + t[:, :, 1:]) / 2 for t in (features, density, depths))
    alpha = 1 - (-F.softplus(density - 1) * lengths).exp()
    passed = torch.cat([torch.ones_like(alpha[:, :, :1]), 1 - alpha[:, :, :-1] + 1e-10], 2).cumprod(2)
    weights = alpha * passed
    total = weights.sum(2)
    depth = ((weights * middle).sum(2) / total).nan_to_num(torch.inf)
    return (weights * features).sum(2), weights, depth


def _importance(depths: Tensor, weights: Tensor, uniform: Tensor) -> Tensor:
    """Depths [B, R, F, 1] where the coarse samples' weights are large, for numbers [B * R, F] in 0..1."""
    batch, rays, count, _ = depths.shape
    flat = weights.reshape(batch * rays, 1, count - 1)
    # widened by a sample to each side, then smoothed: an edge between two samples is not missed
    smooth = F.avg_pool1d(F.max_pool1d(flat, 2, 1, padding=1), 2, 1)[:, 0] + 0.01
    middles = (depths[:, :, :-1] + depths[:, :, 1:]).reshape(batch * rays, count - 1) / 2
    share = smooth[:, 1:-1] + 1e-5
    summed = F.pad((share / share.sum(1, keepdim=True)).cumsum(1), (1, 0))
    after = torch.searchsorted(summed, uniform.contiguous(), right=True)
    before, after = (after - 1).clamp(min=0), after.clamp(max=summed.shape[1] - 1)
    low, high, start, end = (
        t.gather(1, i) for t, i in ((summed, before), (summed, after), (middles, before), (middles, after))
    )
    width = torch.where(high - low < 1e-5, 1.0, high - low)
    return (start + (uniform - low) / width * (end - start)).view(batch, rays, -1, 1)
