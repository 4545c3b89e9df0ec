"""Whole checkpoints of SyncDreamer and Morphable Diffusion: which of their names is which of ours."""

from __future__ import annotations

from collections.abc import Mapping

from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from gen3dface.conversion.clip_keys import clip_keys
from gen3dface.conversion.key_map import Entry, export_state, import_state, module_entries
from gen3dface.conversion.unet_keys import multiview_unet_keys
from gen3dface.conversion.vae_keys import vae_keys
from gen3dface.conversion.volume_keys import conditioner_keys
from gen3dface.errors import CheckpointError
from gen3dface.models.build import Models
from gen3dface.models.token_projection import ViewTokenProjection

_SCHEDULE = (
    "betas",
    "alphas",
    "alphas_cumprod",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
)
_CAMERAS = ("poses", "Ks", "azimuth")
_TEXT = (
    "positional_embedding",
    "text_projection",
    "logit_scale",
    "token_embedding.weight",
    "ln_final.weight",
    "ln_final.bias",
)
# Tables that the scheduler and the cameras replace, and left-overs of CLIP's text side; nothing else is passed over.
IGNORED = frozenset({*_SCHEDULE, *_CAMERAS, *(f"clip_image_encoder.model.{name}" for name in _TEXT)})


def token_keys(module: ViewTokenProjection, ours: str = "") -> list[Entry]:
    """`cc_projection`."""
    return module_entries(module.proj, ours + "proj.", "cc_projection.", [])


def peer_keys(models: Models) -> dict[str, list[Entry]]:
    """The entries of each component, for models built for one of the two peers.

    Raises:
        CheckpointError: the models' autoencoder or image encoder is not the peers'.
    """
    if not isinstance(models.vae, AutoencoderKL) or not isinstance(models.image_encoder, CLIPVisionModelWithProjection):
        raise CheckpointError(
            "These models hold no Stable Diffusion autoencoder and CLIP; build sd15 or a peer's size."
        )
    keys = {
        "vae": vae_keys(models.vae, "", "first_stage_model."),
        "image_encoder": clip_keys(models.image_encoder, "", "clip_image_encoder.model.visual."),
        "conditioner": conditioner_keys(models.conditioner),
        "unet": multiview_unet_keys(models.unet, "", "model.diffusion_model."),
    }
    if models.token_projection is not None:
        keys["token_projection"] = token_keys(models.token_projection)
    return keys


def import_peer(state: Mapping[str, Tensor], models: Models) -> dict[str, dict[str, Tensor]]:
    """A full checkpoint as one state dict a component.

    Args:
        state: theirs. models: built for that peer; may be on the meta device, only names and shapes are looked at.

    Raises:
        CheckpointError: names are missing, unexpected or misshapen.
    """
    keys = peer_keys(models)
    whole = [
        Entry(e.theirs, tuple(f"{name}/{mine}" for mine in e.ours), e.form) for name, es in keys.items() for e in es
    ]
    expected = {f"{name}/{key}": t for name, m in models.modules().items() for key, t in m.state_dict().items()}
    found = import_state(state, whole, expected, IGNORED.__contains__)
    out: dict[str, dict[str, Tensor]] = {name: {} for name in keys}
    for name, tensor in found.items():
        component, _, key = name.partition("/")
        out[component][key] = tensor
    return out


def export_peer(states: Mapping[str, Mapping[str, Tensor]], models: Models) -> dict[str, Tensor]:
    """Component state dicts as one checkpoint of the peer, without the names in `IGNORED`."""
    out: dict[str, Tensor] = {}
    for name, entries in peer_keys(models).items():
        out |= export_state(states[name], entries)
    return out
