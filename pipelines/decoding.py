"""Clean latents to views, masks and all that goes with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.pipelines import codec
from gen3dface.pipelines.conditions import module_dtype
from gen3dface.pipelines.consensus import agreed
from gen3dface.pipelines.output import MultiViewOutput, OutputType, as_output_type
from gen3dface.pipelines.scene import silhouettes
from gen3dface.pipelines.settled import settled, unveiled
from gen3dface.pipelines.skin import with_even_skin
from gen3dface.pipelines.subjects import Subject

if TYPE_CHECKING:
    from gen3dface.pipelines.gen3dface_pipeline import Gen3DFacePipeline


def decode_views(
    pipe: Gen3DFacePipeline, latents: Tensor, subjects: Sequence[Subject], views: Cameras, output_type: OutputType
) -> list[MultiViewOutput]:
    """One output for each of B photos, on the CPU; latents [B, N, C, h, w] scaled."""
    kept = latents.cpu()
    if output_type == "latent":
        rows = zip(kept, subjects, strict=True)
        return [MultiViewOutput(z, silhouettes(s, views), views, s.fit, z) for z, s in rows]
    images, masks = _pictures(pipe, latents, subjects, views)
    if pipe.unet.config["gate_channels"]:  # a model that is told what the photo shows, and copies it
        pairs = [_finished(i, m, s, views) for i, m, s in zip(images, masks, subjects, strict=True)]
        images, masks = (torch.stack(parts) for parts in zip(*pairs, strict=True))
    return [
        MultiViewOutput(as_output_type(i, output_type), m, views, s.fit, z)
        for i, m, s, z in zip(images, masks, subjects, kept, strict=True)
    ]


def _finished(images: Tensor, masks: Tensor, subject: Subject, views: Cameras) -> tuple[Tensor, Tensor]:
    images, masks = unveiled(images, masks)
    images, bare = with_even_skin(agreed(images, masks, subject.surface, views), masks, subject, views)
    return settled(images, masks, subject, views, bare)


def _pictures(
    pipe: Gen3DFacePipeline, latents: Tensor, subjects: Sequence[Subject], views: Cameras
) -> tuple[Tensor, Tensor]:
    """[B, N, 3, S, S] over white and coverage [B, N, 1, S, S], both in 0..1."""
    batch = latents.shape[:2]
    images, alpha = codec.decode(pipe.vae, latents.flatten(0, 1).to(module_dtype(pipe.vae)))
    images = images.cpu()
    if alpha is None:
        alpha = codec.masks_over_white(images, torch.cat([silhouettes(s, views) for s in subjects]))
    return images.unflatten(0, batch), alpha.cpu().unflatten(0, batch)
