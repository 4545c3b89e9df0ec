"""Encode the photos of a call into its `Scene`: once, before the first step.

`prepare` did what no network is needed for; here the networks run, and gradients flow into all but the autoencoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.errors import ConfigError
from gen3dface.models.conditioner import SceneGeometry, VolumeConditioner
from gen3dface.models.copy_gate import clearly_seen, own_view
from gen3dface.models.embeddings import ViewConvention, view_embedding
from gen3dface.models.photo_encoder import PhotoFeatures
from gen3dface.models.photo_projection import pack
from gen3dface.models.precision import exactly
from gen3dface.pipelines import codec, scene
from gen3dface.pipelines.image_tokens import encode_photo
from gen3dface.pipelines.prepared import Prepared, Wanted, prepare, stacked_cameras
from gen3dface.pipelines.scene import Scene
from gen3dface.pipelines.subjects import Subject

if TYPE_CHECKING:
    from gen3dface.pipelines.gen3dface_pipeline import Gen3DFacePipeline


@dataclass(frozen=True)
class Networks:
    """A pipeline's networks and settings, wherever they live."""

    vae: Any
    unet: Any
    conditioner: VolumeConditioner | None
    image_encoder: Any
    token_projection: Any
    config: Mapping[str, Any]  # of the pipeline
    device: torch.device


def networks_of(pipe: Gen3DFacePipeline) -> Networks:
    """Of a pipeline, on its execution device."""
    parts = (pipe.vae, pipe.unet, pipe.conditioner, pipe.image_encoder, pipe.token_projection)
    return Networks(*parts, pipe.config, pipe._execution_device)


def build_scene(pipe: Gen3DFacePipeline, subjects: Sequence[Subject], views: Cameras, generator: Any) -> Scene:
    """Everything that the steps share, on the pipeline's execution device and in the UNet's dtype."""
    wanted = Wanted.by(pipe.unet.config, pipe.config)
    built = encode_scene(networks_of(pipe), [prepare(s, views, wanted) for s in subjects], generator)
    return built.to(pipe._execution_device, pipe.unet.dtype)


def encode_scene(nets: Networks, heads: Sequence[Prepared], generator: Any = None) -> Scene:
    """Run the networks that a call runs once, on B heads with N views each; float32 on their device.

    Args:
        generator: for an autoencoder whose posterior is drawn from; one, or a list with one a head.
    """
    config = nets.config
    images, alpha = (torch.stack([getattr(h, name) for h in heads]) for name in ("image", "alpha"))
    latent = encode_pictures(nets, images, alpha, generator)
    view = view_vectors(heads, config["view_convention"], config["frustum_photo"])
    photo = _photo_features(nets, images, alpha)
    built = Scene(_tokens(nets, photo.tokens, heads), latent, view.to(latent.device))
    built = _with_projection(nets, built, heads)
    if nets.conditioner is not None:
        features = photo.features
        if features is None:
            features = _plain_features(latent, images, alpha)
        built = _with_volume(nets, nets.conditioner, built, heads, features)
    return built


@torch.no_grad()
def encode_pictures(nets: Networks, images: Tensor, alpha: Tensor, generator: Any = None) -> Tensor:
    """Pictures [R, 3, S, S] and alpha [R, 1, S, S] in 0..1 to scaled latents [R, C, h, w] float32."""
    images, alpha = (t.to(nets.device, module_dtype(nets.vae)) for t in (images, alpha))
    return codec.encode(nets.vae, images, alpha, nets.config["posterior"], generator).float()


def _photo_features(nets: Networks, images: Tensor, alpha: Tensor) -> PhotoFeatures:
    if nets.image_encoder is None:
        width = nets.unet.unet.config["cross_attention_dim"]
        return PhotoFeatures(torch.zeros(len(images), 1, width, device=nets.device), None)
    return encode_photo(nets.image_encoder, images, alpha, nets.device, module_dtype(nets.image_encoder))


def _tokens(nets: Networks, tokens: Tensor, heads: Sequence[Prepared]) -> Tensor:
    """[B, T, E], or [B, F, T, E] for a model whose tokens know their view."""
    if nets.token_projection is None:
        return tokens
    extra = nets.unet.config["input_view"] == "extra_frame"
    view = view_vectors(heads, nets.config["view_convention"], extra)
    return nets.token_projection(tokens, view.to(tokens))


@exactly
def view_vectors(heads: Sequence[Prepared], convention: ViewConvention, with_photo: bool = False) -> Tensor:
    """View embeddings [B, N, 4], relative to each photo; `with_photo`: the photo's own as the last."""
    azimuth, elevation = torch.cat([h.photo.azimuths for h in heads]), torch.cat([h.photo.elevations for h in heads])
    targets = [torch.stack([getattr(h.views, name) for h in heads]) for name in ("azimuths", "elevations")]
    if with_photo:
        targets = [torch.cat([t, own[:, None]], 1) for t, own in zip(targets, (azimuth, elevation), strict=True)]
    return view_embedding(targets[0], targets[1], azimuth, elevation, convention)


def _plain_features(latent: Tensor, images: Tensor, alpha: Tensor) -> Tensor:
    """Latent, colour in -1..1 and matte at the latents' size, [B, C + 4, h, w]."""
    pictures = torch.cat([2 * images - 1, alpha], 1).to(latent)
    return torch.cat([latent, F.adaptive_avg_pool2d(pictures, latent.shape[-1])], 1)


def _with_projection(nets: Networks, built: Scene, heads: Sequence[Prepared]) -> Scene:
    """Add the photo as the views see it on the mesh, and what the copy gate copies, where the UNet takes them."""
    wanted, gates = nets.unet.config["condition_channels"], nets.unet.config["gate_channels"]
    found = [h.told for h in heads if h.told is not None]
    factor = codec.latent_factor(nets.vae)
    if wanted:
        built = replace(built, conditions=torch.stack([pack(f.conditions(), factor) for f in found]).to(nets.device))
    if gates:
        pictures = [torch.cat(parts) for parts in zip(*(f.picture() for f in found), strict=True)]
        latents = encode_pictures(nets, pictures[0], pictures[1]).unflatten(0, (len(found), -1))
        own = [own_view(h.views, h.photo).reshape(-1, 1, 1, 1) for h in heads]
        trust = [f.trust() for f in found]
        trust = [t + torch.maximum(clearly_seen(t), share.to(t)) for t, share in zip(trust, own, strict=True)]
        visible = torch.stack([scene.gate_visibility(t, gates, factor) for t in trust]).to(nets.device)
        built = replace(built, copy=(latents, visible))
    return built


def _with_volume(
    nets: Networks, conditioner: VolumeConditioner, built: Scene, heads: Sequence[Prepared], features: Tensor
) -> Scene:
    """Add the grids and tables of the volumes and what they know of the mesh and the photo."""
    latent_size = built.input_latent.shape[-1]
    geometry = scene_geometry(conditioner, heads, latent_size, nets.config["frustum_photo"]).to(nets.device)
    built = replace(built, geometry=geometry)
    if conditioner.volume.config["photo_channels"]:
        built = replace(built, photo_volume=conditioner.volume.unproject_photo(features.float(), geometry.volume))
    if nets.config["vertex_features"]:
        known = [h.vertex_features for h in heads if h.vertex_features is not None]
        built = replace(built, vertex_features=torch.stack(known).to(nets.device))
    return built


@exactly
def scene_geometry(
    conditioner: VolumeConditioner, heads: Sequence[Prepared], feature_size: int, frustum_photo: bool = False
) -> SceneGeometry:
    """Index tables and grids for `conditioner`, where the heads are. Raises `ConfigError` when topologies differ."""
    shapes = {tuple(h.vertices.shape) for h in heads}
    if len(shapes) > 1:
        raise ConfigError(f"The heads of a batch need one topology, got vertices of {sorted(shapes)}; call one by one.")
    vertices = torch.stack([h.vertices for h in heads])
    views, photos = (stacked_cameras([getattr(h, name) for h in heads]) for name in ("views", "photo"))
    return conditioner.geometry(*views, heads[0].views.height, feature_size, vertices, photos, frustum_photo)


def module_dtype(module: torch.nn.Module) -> torch.dtype:
    """Of its weights; float32 for a module without any."""
    return next((p.dtype for p in module.parameters()), torch.float32)
