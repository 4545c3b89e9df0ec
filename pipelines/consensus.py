"""Views of one head brought nearer to what they agree on.

Jointly denoised views agree, but not to the pixel. All of them are blended into one texture of the estimated head, and
each view gives way to it by a share: where the views differ they differ by that much less, where they agree nothing
changes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gen3dface.bake import BakedTexture, Picture, bake
from gen3dface.cameras import Cameras
from gen3dface.models.precision import exactly
from gen3dface.pipelines.preview import SOLID
from gen3dface.render import Surface, box_max, ramp, render

_SHARE = 0.3  # by which a view gives way; more blurs
_TEXELS = 2  # of the texture's side for a pixel of the views' side
_SOLID = 0.95  # coverage from which a pixel is the head alone


@torch.no_grad()
@exactly
def agreed(images: Tensor, masks: Tensor, surface: Surface, views: Cameras) -> Tensor:
    """Views [N, 3, S, S] in 0..1 that agree better.

    Args:
        masks: [N, 1, S, S] in 0..1. surface: the estimated head, hanging hair included.
    """
    baked = blended(images, masks, surface, views)
    planes = torch.cat([baked.colour, baked.known[None]])
    shown, coverage = render(surface, planes, views, background=planes.new_tensor([1, 1, 1, 0]))
    known = (shown[:, 3:] > 0.99) & (coverage > SOLID) & (masks > _SOLID)
    return torch.lerp(images, shown[:, :3], _SHARE * known)


def blended(images: Tensor, masks: Tensor, surface: Surface, views: Cameras) -> BakedTexture:
    """One texture of the head from views [N, 3, S, S] of coverage [N, 1, S, S]."""
    cores = [ramp(-box_max(-mask[0], 1), (_SOLID, 1)) for mask in masks]
    pictures = [Picture(i, core, camera) for i, core, camera in zip(images, cores, views, strict=True)]
    return bake(surface, pictures, images.new_zeros(3, *[_TEXELS * views.height] * 2))
