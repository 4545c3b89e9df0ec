"""Whole checkpoints of SyncDreamer and Morphable Diffusion: which of their names is which of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

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

# of SyncDreamer, in a model whose volume is another: what is dropped, and what of that is kept nevertheless
_LEFT = ("spatial_volume.", "cc_projection.")
_KEPT = ("time_embed.", "spatial_volume.target_encoder.")


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
    return import_parts(state, peer_keys(models), models, IGNORED.__contains__)


def import_start(state: Mapping[str, Tensor], models: Models) -> dict[str, dict[str, Tensor]]:
    """What Morphable Diffusion, and the paper after it, keep of SyncDreamer's checkpoint to start from.

    Of the volumes only the encoder of the noisy views; without `token_projection`, the image tokens know no view.

    Raises:
        CheckpointError: names are missing, unexpected or misshapen.
    """
    keys = peer_keys(models)
    keys["conditioner"] = [e for e in keys["conditioner"] if e.theirs.startswith(_KEPT)]
    return import_parts(state, keys, models, left_behind, whole=False)


def left_behind(name: str) -> bool:
    """Whether a name of SyncDreamer's checkpoint holds nothing for a mesh-aware model."""
    return name in IGNORED or (name.startswith(_LEFT) and not name.startswith(_KEPT))


def import_parts(
    state: Mapping[str, Tensor],
    keys: Mapping[str, Sequence[Entry]],
    models: Models,
    ignored: Callable[[str], bool],
    whole: bool = True,
) -> dict[str, dict[str, Tensor]]:
    """The tensors that entries of components name, as state dicts of the components.

    Args:
        whole: every tensor of every component must be named; False: what is not named is left out.
    """
    joined = [
        Entry(e.theirs, tuple(f"{part}/{mine}" for mine in e.ours), e.form) for part, es in keys.items() for e in es
    ]
    named = {name for entry in joined for name in entry.ours}
    expected = {f"{part}/{key}": t for part, m in models.modules().items() for key, t in m.state_dict().items()}
    if not whole:
        expected = {name: tensor for name, tensor in expected.items() if name in named}
    out: dict[str, dict[str, Tensor]] = {part: {} for part in keys}
    for name, tensor in import_state(state, joined, expected, ignored).items():
        part, _, key = name.partition("/")
        out[part][key] = tensor
    return out


def export_peer(states: Mapping[str, Mapping[str, Tensor]], models: Models) -> dict[str, Tensor]:
    """Component state dicts as one checkpoint of the peer, without the names in `IGNORED`."""
    out: dict[str, Tensor] = {}
    for name, entries in peer_keys(models).items():
        out |= export_state(states[name], entries)
    return out
