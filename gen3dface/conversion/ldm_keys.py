"""Checkpoints of Stable Diffusion 1.5 and zero123: the part of our model that they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gen3dface.conversion.clip_keys import clip_keys
from gen3dface.conversion.key_map import Entry
from gen3dface.conversion.kinds import Source
from gen3dface.conversion.peer_keys import import_parts, token_keys
from gen3dface.conversion.unet_keys import unet_keys
from gen3dface.conversion.vae_keys import vae_keys
from gen3dface.errors import CheckpointError
from gen3dface.models.build import Models

CONV_IN = "model.diffusion_model.input_blocks.0.0.weight"
_CLIP = "cond_stage_model.model."

# tables that the scheduler replaces
_SCHEDULE = frozenset(
    {
        "betas",
        "alphas_cumprod",
        "alphas_cumprod_prev",
        "sqrt_alphas_cumprod",
        "sqrt_one_minus_alphas_cumprod",
        "log_one_minus_alphas_cumprod",
        "sqrt_recip_alphas_cumprod",
        "sqrt_recipm1_alphas_cumprod",
        "posterior_variance",
        "posterior_log_variance_clipped",
        "posterior_mean_coef1",
        "posterior_mean_coef2",
        "logvar",
        "lvlb_weights",
        "scale_factor",
    }
)
# the running mean of the weights (the weights themselves are read), and the text encoder or what CLIP has of one
_PREFIXES: dict[Source, tuple[str, ...]] = {
    Source.sd15: ("model_ema.", "cond_stage_model."),
    Source.zero123: ("model_ema.", f"{_CLIP}transformer.", f"{_CLIP}token_embedding.", f"{_CLIP}ln_final."),
}
_NAMES: dict[Source, frozenset[str]] = {
    Source.sd15: _SCHEDULE,
    Source.zero123: _SCHEDULE
    | {f"{_CLIP}{name}" for name in ("positional_embedding", "text_projection", "logit_scale")}
    | {"cond_stage_model.mean", "cond_stage_model.std"},
}


def ldm_ignores(name: str, source: Source) -> bool:
    """Whether a name of the checkpoint holds nothing for our model."""
    return name in _NAMES[source] or name.startswith(_PREFIXES[source])


def ldm_keys(models: Models, source: Source) -> dict[str, list[Entry]]:
    """The entries of each component that the checkpoint holds, in whole or in part."""
    vae: Any = models.vae
    keys = {
        "vae": vae_keys(vae, "", "first_stage_model."),
        "unet": unet_keys(models.unet.unet, "unet.", "model.diffusion_model."),
    }
    if source is Source.zero123:
        encoder: Any = models.image_encoder
        keys["image_encoder"] = clip_keys(encoder, "", f"{_CLIP}visual.")
        if models.token_projection is None:
            raise CheckpointError("zero123 joins the image's token with the view: configure token_projection.")
        keys["token_projection"] = token_keys(models.token_projection)
    return keys


def import_ldm(state: Mapping[str, Tensor], models: Models, source: Source) -> dict[str, dict[str, Tensor]]:
    """The tensors that the checkpoint holds, as state dicts of the components; those of the UNet lack the depth
    transformers.

    Raises:
        CheckpointError: names are missing, unexpected or misshapen.
    """
    keys = ldm_keys(models, source)
    if source is Source.sd15:
        state = {**state, **_grown(state, models)}
    return import_parts(state, keys, models, lambda name: ldm_ignores(name, source), whole=False)


def _grown(state: Mapping[str, Tensor], models: Models) -> dict[str, Tensor]:
    """The first convolution with zeros for the photo's latent, which Stable Diffusion does not look at."""
    weight, latent = state.get(CONV_IN), int(models.unet.config["latent_channels"])
    if weight is None or weight.ndim != 4 or weight.shape[1] != latent:
        return {}  # the comparison of names and shapes says so
    more = models.unet.unet.config["in_channels"] - latent
    return {CONV_IN: torch.cat([weight, weight.new_zeros(weight.shape[0], more, *weight.shape[2:])], 1)}
