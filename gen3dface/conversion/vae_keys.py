"""Names of the latent diffusion autoencoder (CompVis)."""

from __future__ import annotations

from typing import Any

from diffusers import AutoencoderKL
from torch import nn

from gen3dface.conversion.key_map import Entry, Rename, module_entries, pointwise

_RESNET: list[Rename] = [("conv_shortcut", "nin_shortcut")]
_ATTENTION: list[Rename] = [
    ("group_norm", "norm"),
    ("to_q", "q", pointwise(2)),
    ("to_k", "k", pointwise(2)),
    ("to_v", "v", pointwise(2)),
    ("to_out.0", "proj_out", pointwise(2)),
]


def vae_keys(vae: AutoencoderKL, ours: str = "", theirs: str = "") -> list[Entry]:
    """`first_stage_model` of a full checkpoint."""
    entries = []
    for name in ("quant_conv", "post_quant_conv"):
        entries += module_entries(vae.get_submodule(name), f"{ours}{name}.", f"{theirs}{name}.", [])
    downs = [("down_blocks", i, "down", i, "downsample") for i in range(len(vae.encoder.down_blocks))]
    last = len(vae.decoder.up_blocks) - 1
    ups = [("up_blocks", i, "up", last - i, "upsample") for i in range(last + 1)]
    entries += _half(vae.encoder, ours + "encoder.", theirs + "encoder.", downs)
    return entries + _half(vae.decoder, ours + "decoder.", theirs + "decoder.", ups)


def _half(module: nn.Module, ours: str, theirs: str, blocks: list[tuple[str, int, str, int, str]]) -> list[Entry]:
    """Encoder or decoder."""
    places: list[tuple[str, str, list[Rename]]] = [("conv_in", "conv_in", []), ("conv_out", "conv_out", [])]
    places.append(("conv_norm_out", "norm_out", []))
    places += [(f"mid_block.resnets.{i}", f"mid.block_{i + 1}", _RESNET) for i in range(2)]
    places.append(("mid_block.attentions.0", "mid.attn_1", _ATTENTION))
    for mine, i, other, number, sampler in blocks:
        block: Any = module.get_submodule(f"{mine}.{i}")
        places += [
            (f"{mine}.{i}.resnets.{j}", f"{other}.{number}.block.{j}", _RESNET) for j in range(len(block.resnets))
        ]
        if getattr(block, f"{sampler}rs", None) is not None:
            places.append((f"{mine}.{i}.{sampler}rs.0", f"{other}.{number}.{sampler}", []))
    entries = []
    for mine_name, their_name, renames in places:
        part = module.get_submodule(mine_name)
        entries += module_entries(part, f"{ours}{mine_name}.", f"{theirs}{their_name}.", renames)
    return entries
