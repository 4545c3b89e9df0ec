"""Encode the photos of a call into its `Scene`: once, before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.models.photo_encoder import PhotoFeatures
from gen3dface.models.photo_projection import PhotoProjection, pack
from gen3dface.pipelines import codec, scene
from gen3dface.pipelines.image_tokens import encode_photo
from gen3dface.pipelines.preview import Preview, preview
from gen3dface.pipelines.scene import Scene
from gen3dface.pipelines.subjects import Subject

if TYPE_CHECKING:
    from gen3dface.pipelines.gen3dface_pipeline import Gen3DFacePipeline


def build_scene(pipe: Gen3DFacePipeline, subjects: Sequence[Subject], views: Cameras, generator: Any) -> Scene:
    """Everything that the steps share, on the pipeline's execution device and in the UNet's dtype."""
    device, config = pipe._execution_device, pipe.config
    images, alpha = (torch.stack([getattr(s.crop, name) for s in subjects]) for name in ("image", "alpha"))
    latent = _encode(pipe, images, alpha, generator)
    view = scene.view_vectors(subjects, views, config["view_convention"], config["frustum_photo"])
    photo = _photo_features(pipe, images, alpha)
    built = Scene(_tokens(pipe, photo.tokens, subjects, views), latent, view)
    built = _with_projection(pipe, built, subjects, views)
    if pipe.conditioner is not None:
        features = photo.features
        if features is None:
            features = _plain_features(latent, images, alpha)
        built = _with_volume(pipe, built, subjects, views, features)
    return built.to(device, pipe.unet.dtype)


def _encode(pipe: Gen3DFacePipeline, images: Tensor, alpha: Tensor, generator: Any = None) -> Tensor:
    """Pictures [R, ., S, S] to latents [R, C, h, w] float32 on the execution device."""
    images, alpha = (t.to(pipe._execution_device, module_dtype(pipe.vae)) for t in (images, alpha))
    return codec.encode(pipe.vae, images, alpha, pipe.config["posterior"], generator).float()


def _photo_features(pipe: Gen3DFacePipeline, images: Tensor, alpha: Tensor) -> PhotoFeatures:
    device = pipe._execution_device
    if pipe.image_encoder is None:
        width = pipe.unet.unet.config["cross_attention_dim"]
        return PhotoFeatures(torch.zeros(len(images), 1, width, device=device), None)
    return encode_photo(pipe.image_encoder, images, alpha, device, module_dtype(pipe.image_encoder))


def _tokens(pipe: Gen3DFacePipeline, tokens: Tensor, subjects: Sequence[Subject], views: Cameras) -> Tensor:
    """[B, T, E], or [B, F, T, E] for a model whose tokens know their view."""
    if pipe.token_projection is None:
        return tokens
    extra = pipe.unet.config["input_view"] == "extra_frame"
    view = scene.view_vectors(subjects, views, pipe.config["view_convention"], extra)
    return pipe.token_projection(tokens, view.to(tokens))


def _plain_features(latent: Tensor, images: Tensor, alpha: Tensor) -> Tensor:
    """Latent, colour in -1..1 and matte at the latents' size, [B, C + 4, h, w]."""
    pictures = torch.cat([2 * images - 1, alpha], 1).to(latent)
    return torch.cat([latent, F.adaptive_avg_pool2d(pictures, latent.shape[-1])], 1)


def _with_projection(pipe: Gen3DFacePipeline, built: Scene, subjects: Sequence[Subject], views: Cameras) -> Scene:
    """Add the photo as the views see it on the mesh, and what the copy gate copies, where the UNet takes them."""
    wanted, gates = pipe.unet.config["condition_channels"], pipe.unet.config["gate_channels"]
    if not wanted and not gates:
        return built
    found = [_told(pipe, s, views) for s in subjects]
    factor = codec.latent_factor(pipe.vae)
    if wanted:
        built = replace(built, conditions=torch.stack([pack(f.conditions(), factor) for f in found]))
    if gates:
        pictures = [torch.cat(parts) for parts in zip(*(f.picture() for f in found), strict=True)]
        latents = _encode(pipe, *pictures).unflatten(0, (len(subjects), len(views)))
        visible = torch.stack([scene.gate_visibility(f.trust(), gates, factor) for f in found])
        built = replace(built, copy=(latents, visible))
    return built


def _told(pipe: Gen3DFacePipeline, subject: Subject, views: Cameras) -> PhotoProjection | Preview:
    if pipe.config["view_condition"] == "preview":
        return preview(subject, views)
    return scene.projection(subject, views, pipe.config["shells"])


def _with_volume(
    pipe: Gen3DFacePipeline, built: Scene, subjects: Sequence[Subject], views: Cameras, features: Tensor
) -> Scene:
    """Add the grids and tables of the volumes and what they know of the mesh and the photo."""
    assert pipe.conditioner is not None
    volume = pipe.conditioner.volume
    latent_size = built.input_latent.shape[-1]
    geometry = scene.scene_geometry(pipe.conditioner, subjects, views, latent_size, pipe.config["frustum_photo"])
    geometry = geometry.to(pipe._execution_device)
    built = replace(built, geometry=geometry)
    if volume.config["photo_channels"]:
        built = replace(built, photo_volume=volume.unproject_photo(features.float(), geometry.volume))
    names = pipe.config["vertex_features"]
    if names:
        built = replace(built, vertex_features=torch.stack([scene.vertex_features(names, s) for s in subjects]))
    return built


def module_dtype(module: torch.nn.Module) -> torch.dtype:
    """Of its weights; float32 for a module without any."""
    return next((p.dtype for p in module.parameters()), torch.float32)
