"""Pipelines small enough for tests, with weights that are nowhere zero, so that no test passes vacuously."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from gen3dface.cameras import Cameras, orbit
from gen3dface.models.build import build_models
from gen3dface.pipelines import Gen3DFacePipeline
from tests.synthetic_head import SyntheticHead, synthetic_head

VIEWS = 3

_UNET = {
    "sample_size": 8,
    "block_out_channels": [32, 32],
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "layers_per_block": 1,
    "cross_attention_dim": 24,
    "attention_head_dim": 2,
    "norm_num_groups": 8,
}
_SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}

# the paper's model in little: RGB latents, CLIP, mesh volume
PAPER: dict[str, Any] = {
    "settings": {"image_size": 32, "latent_size": 8},
    "vae": {
        "kind": "kl",
        "block_out_channels": [8, 8, 8],
        "down_block_types": ["DownEncoderBlock2D"] * 3,
        "up_block_types": ["UpDecoderBlock2D"] * 3,
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "latent_channels": 4,
        "scaling_factor": 0.2,
    },
    "image_encoder": {
        "kind": "clip",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
        "projection_dim": 24,
    },
    "conditioner": {
        "volume_config": {
            "encoder_channels": 8,
            "time_dim": 16,
            "volume_size": 8,
            "mesh_channels": [8, 8, 16],
            "voxel_size": 0.012,
        },
        "frustum_channels": [16, 16],
        "frustum_depth": 4,
    },
    "unet": {"volume_channels": [16, 16], "unet_config": _UNET},
    "scheduler": _SCHEDULER,
}

# the shipped model in little: RGBA pixels as latents, photo encoder, projected photo, copy gate, dense volume
SMALL: dict[str, Any] = {
    "settings": {"image_size": 32, "latent_size": 8, "frustum_photo": True, "shells": [0.0, 0.02]},
    "vae": {"kind": "pixel", "channels": 4, "factor": 4},
    "image_encoder": {
        "kind": "photo",
        "image_size": 32,
        "channels": [8, 8, 8],
        "token_dim": 24,
        "feature_channels": 8,
        "feature_size": 8,
    },
    "conditioner": {
        "volume_config": {
            "latent_channels": 64,
            "encoder_channels": 8,
            "time_dim": 16,
            "volume_size": 8,
            "mesh_channels": [8, 8, 16],
            "voxel_size": 0.012,
            "dense_channels": [16, 16],
            "view_fusion": "mean",
            "photo_channels": 8,
        },
        "frustum_channels": [16, 16],
        "frustum_depth": 4,
    },
    "unet": {
        "latent_channels": 64,
        "volume_channels": [16, 16],
        "input_frame_timestep": "zero",
        "concat_input": False,
        "condition_channels": 304,
        "gate_channels": 16,
        "unet_config": _UNET,
    },
    "scheduler": {**_SCHEDULER, "prediction_type": "sample"},
}


LEARNED = SMALL | {"vae": SMALL["vae"] | {"decoder_widths": [4, 6]}}


def tiny_pipeline(config: dict[str, Any] = PAPER, seed: int = 0, **settings: Any) -> Gen3DFacePipeline:
    """A pipeline with random weights, in evaluation mode."""
    torch.manual_seed(seed)
    pipe = Gen3DFacePipeline.from_models(build_models(config), **settings)
    generator = torch.Generator().manual_seed(seed)
    for component in pipe.components.values():
        if isinstance(component, torch.nn.Module):
            component.eval()
            for parameter in component.parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.data += 0.05 * noise if parameter.ndim > 1 else 0.1 * noise
    pipe.set_progress_bar_config(disable=True)
    return pipe


def cameras(count: int = VIEWS) -> Cameras:
    """The first views of a ring of five."""
    return orbit(torch.arange(count) * 72.0, torch.zeros(count), radius=1.8, focal=4.5, size=32)


@lru_cache(maxsize=2)
def subject(azimuth: float = 20.0) -> SyntheticHead:
    """A photo whose head is known, a hundred pixels or so large."""
    return synthetic_head(azimuth)


def inputs(seed: int = 0, **more: Any) -> dict[str, Any]:
    """Arguments of a quick call that draws nothing but its first noise."""
    head = subject()
    base: dict[str, Any] = {
        "image": head.portrait,
        "head": head.fit,
        "cameras": cameras(),
        "num_inference_steps": 2,
        "eta": 0.0,
        "generator": torch.Generator().manual_seed(seed),
        "output_type": "pt",
        "head_model": head.model,
    }
    return base | more


def noise(photos: int = 1, views: int = VIEWS, channels: int = 4, seed: int = 3) -> Tensor:
    """Unit noise [B, N, C, 8, 8]."""
    return torch.randn(photos, views, channels, 8, 8, generator=torch.Generator().manual_seed(seed))
