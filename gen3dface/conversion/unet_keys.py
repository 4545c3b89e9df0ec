"""Names of the latent diffusion UNet (CompVis) and of SyncDreamer's depth transformers in it."""

from __future__ import annotations

from typing import cast

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from gen3dface.conversion.key_map import Entry, Rename, module_entries
from gen3dface.conversion.volume_keys import blocks_in, depth_keys
from gen3dface.models.depth_attention import DepthTransformer
from gen3dface.models.multiview_unet import MultiViewUNet

_RESNET: list[Rename] = [
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("conv_shortcut", "skip_connection"),
]
_RENAMES: dict[str, list[Rename]] = {"resnets": _RESNET, "downsamplers": [("conv", "op")]}


def unet_modules(unet: UNet2DConditionModel) -> list[tuple[str, str]]:
    """(our name, theirs) of every module of the UNet, in the order of their blocks."""
    places = [("time_embedding.linear_1", "time_embed.0"), ("time_embedding.linear_2", "time_embed.2")]
    places.append(("conv_in", "input_blocks.0.0"))
    number = 0
    for i, block in enumerate(unet.down_blocks):
        for j in range(len(block.resnets)):
            number += 1
            places += _layer(f"down_blocks.{i}", j, f"input_blocks.{number}", bool(getattr(block, "attentions", None)))
        if block.downsamplers is not None:
            number += 1
            places.append((f"down_blocks.{i}.downsamplers.0", f"input_blocks.{number}.0"))
    places += [("mid_block.resnets.0", "middle_block.0"), ("mid_block.attentions.0", "middle_block.1")]
    places.append(("mid_block.resnets.1", "middle_block.2"))
    number = -1
    for i, block in enumerate(unet.up_blocks):
        attends = bool(getattr(block, "attentions", None))
        for j in range(len(block.resnets)):
            number += 1
            places += _layer(f"up_blocks.{i}", j, f"output_blocks.{number}", attends)
        if block.upsamplers is not None:
            places.append((f"up_blocks.{i}.upsamplers.0", f"output_blocks.{number}.{1 + attends}"))
    return [*places, ("conv_norm_out", "out.0"), ("conv_out", "out.2")]


def _layer(block: str, index: int, theirs: str, attends: bool) -> list[tuple[str, str]]:
    layer = [(f"{block}.resnets.{index}", f"{theirs}.0")]
    return [*layer, (f"{block}.attentions.{index}", f"{theirs}.1")] if attends else layer


def unet_keys(unet: UNet2DConditionModel, ours: str = "", theirs: str = "") -> list[Entry]:
    """A whole UNet, `model.diffusion_model` in a full checkpoint."""
    entries = []
    for mine, other in unet_modules(unet):
        kind = mine.split(".")[-2] if "." in mine else mine
        module = unet.get_submodule(mine)
        entries += module_entries(module, f"{ours}{mine}.", f"{theirs}{other}.", _RENAMES.get(kind, []))
    return entries


def multiview_unet_keys(module: MultiViewUNet, ours: str = "", theirs: str = "") -> list[Entry]:
    """The UNet with its depth transformers."""
    entries = unet_keys(module.unet, ours + "unet.", theirs)
    if module.mid_depth is not None and module.up_depth is not None:
        entries += depth_keys(module.mid_depth, ours + "mid_depth.", theirs + "middle_conditions.")
        places = [(i, j) for i, block in enumerate(module.up_depth) for j in range(blocks_in(block))]
        for number, (i, j) in enumerate(places):
            depth = cast(DepthTransformer, module.get_submodule(f"up_depth.{i}.{j}"))
            entries += depth_keys(depth, f"{ours}up_depth.{i}.{j}.", f"{theirs}output_conditions.{number}.")
    return entries
