"""Small views enlarged, with the fine detail of larger ones of the same head."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from gen3dface.errors import CameraError
from gen3dface.pipelines.output import MultiViewOutput


def with_detail(views: MultiViewOutput, sharp: MultiViewOutput) -> MultiViewOutput:
    """Views at the size of `sharp`: their own colours, and what `sharp` shows that their size cannot hold.

    A Laplacian pyramid of two levels (Burt and Adelson, 1983): the views give the coarse one, `sharp` the fine one,
    for instance the projection engine's, whose pores and strands come from the photo itself.

    Args:
        views: N views of s x s pixels. sharp: N views of S x S, from the same places, S >= s.

    Raises:
        CameraError: the views are not from the same places.
    """
    size, small = sharp.cameras.height, views.cameras.height
    same = views.cameras.world_to_camera.shape == sharp.cameras.world_to_camera.shape
    if not same or not views.cameras.world_to_camera.allclose(sharp.cameras.world_to_camera, atol=1e-5):
        raise CameraError("The sharp views were not taken from where the views were.")
    fine = sharp.tensor()
    detail = fine - _enlarged(_reduced(fine, small), size)
    images = (_enlarged(views.tensor(), size) + detail * _enlarged(_agreement(views, sharp), size)).clamp(0, 1)
    masks = _enlarged(views.masks, size).clamp(0, 1)
    return MultiViewOutput(images, masks, sharp.cameras, views.head, views.latents, sharp.texture)


def _agreement(views: MultiViewOutput, sharp: MultiViewOutput) -> Tensor:
    """[N, 1, s, s] in 0..1: both cover the pixel alike; elsewhere detail would be a ghost of another outline."""
    apart = (views.masks - _reduced(sharp.masks, views.cameras.height)).abs()
    return (1 - 4 * F.max_pool2d(apart, 3, 1, 1)).clamp(0, 1)


def _reduced(pictures: Tensor, size: int) -> Tensor:
    return F.interpolate(pictures, (size, size), mode="bilinear", antialias=True, align_corners=False)


def _enlarged(pictures: Tensor, size: int) -> Tensor:
    return F.interpolate(pictures, (size, size), mode="bicubic", align_corners=False)
