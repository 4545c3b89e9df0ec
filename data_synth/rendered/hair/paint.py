"""Hair too fine or too dense to be strands: the shade of roots on the scalp, of a beard and of brows on the skin."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.data_synth.rendered.hair.facial import FacialStyle, beard_density, brow_density
from gen3dface.data_synth.rendered.hair.head_field import OUTER
from gen3dface.data_synth.rendered.hair.noise import smooth_noise
from gen3dface.data_synth.rendered.hair.roots import above_hairline
from gen3dface.data_synth.rendered.hair.style import HairStyle
from gen3dface.heads import HeadModel
from gen3dface.raster import rasterize_uv

_BEARD_SHADE = {"stubble": 0.42, "moustache": 0.6, "goatee": 0.6, "full": 0.75, "long": 0.8}
_MARGIN = 3  # texels around a chart that are painted too: a look-up at its edge mixes them in


@dataclass(frozen=True)
class Texels:
    """The texels of a head's square texture that lie on its outer skin, without the ears."""

    size: int
    index: Tensor  # [M] flat, row 0 at v = 1
    rest: Tensor  # [M, 3] on the mean head, metres
    grain: Tensor  # [M] fixed white noise, deviation 1


def skin_texels(model: HeadModel, size: int) -> Texels:
    """Where each texel lies on the mean head."""
    seen = rasterize_uv(model.uvs, model.uv_faces, size)
    outer = torch.stack([model.regions[name] for name in OUTER]).any(0) & ~model.regions["ears"]
    mask = seen.mask & outer[model.faces].all(1)[seen.face.clamp(min=0)]
    place = seen.interpolate(model.template, model.faces).permute(2, 0, 1) * mask
    for _ in range(_MARGIN):
        mask, place = _grown(mask, place, ~seen.mask)
    index = mask.reshape(-1).nonzero()[:, 0]
    rest = place.reshape(3, -1)[:, index].T.contiguous()
    grain = torch.randn(len(index), generator=torch.Generator().manual_seed(0))
    return Texels(size, index, rest, grain)


def _grown(mask: Tensor, place: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """One ring of free texels [S, S] more, each at the mean place [3, S, S] of its neighbours."""
    both = F.avg_pool2d(torch.cat([place, mask[None].to(place)])[None], 3, 1, 1)[0]
    ring = free & ~mask & (both[3] > 0)
    return mask | ring, torch.where(ring, both[:3] / both[3].clamp(min=1e-6), place)


def shade(texels: Texels, style: HairStyle, facial: FacialStyle, generator: torch.Generator) -> Tensor:
    """Share [size, size] in 0..1 of the skin's albedo that hair takes the place of."""
    total = texels.rest.new_zeros(texels.size**2)
    total[texels.index] = torch.stack(
        [_scalp(texels, style, generator), _beard(texels, facial, generator), 0.55 * brow_density(texels.rest, facial)]
    ).amax(0)
    return total.reshape(texels.size, texels.size)


def _scalp(texels: Texels, style: HairStyle, generator: torch.Generator) -> Tensor:
    rest = texels.rest
    depth = above_hairline(rest, style.recession) + 0.0022 * smooth_noise(rest, 160, generator)[:, 0]
    if style.crown:
        depth = torch.minimum(depth, beyond_crown(rest, style))
    feather = 0.016 if style.cut == "buzz" else 0.011
    cover = (depth / feather + 0.15).clamp(0, 1)
    return (style.cap * cover * (1 + 0.15 * texels.grain * (1 - style.cap))).clamp(0, 1)


def beyond_crown(rest: Tensor, style: HairStyle) -> Tensor:
    """Distance in metres [...] outside the bald crown."""
    center = rest.new_tensor([0.0, 0.1, -0.025 if style.crown < 0.06 else 0.015])
    return (rest - center).norm(dim=-1) - style.crown


def _beard(texels: Texels, facial: FacialStyle, generator: torch.Generator) -> Tensor:
    density = beard_density(texels.rest, facial, generator)
    speckle = (1 + 0.35 * texels.grain).clamp(min=0.2) if facial.beard == "stubble" else 1.0
    return (_BEARD_SHADE.get(facial.beard, 0.0) * density * speckle).clamp(0, 1)


def painted(albedo: Tensor, share: Tensor, colour: tuple[float, float, float]) -> Tensor:
    """A linear texture [3, T, T] with hair of a linear colour over its shaded share [T, T]."""
    return torch.lerp(albedo, albedo.new_tensor(colour)[:, None, None].expand_as(albedo), share)
