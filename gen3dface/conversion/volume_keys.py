"""Names of SyncDreamer's and Morphable Diffusion's volume networks."""

from __future__ import annotations

from typing import cast

from torch import nn

from gen3dface.conversion.key_map import SPARSE, Entry, Rename, module_entries, pointwise
from gen3dface.models.conditioner import VolumeConditioner
from gen3dface.models.depth_attention import DepthTransformer
from gen3dface.models.embeddings import TimeEmbedding
from gen3dface.models.frustum_network import FrustumNetwork
from gen3dface.models.mesh_network import MeshNetwork
from gen3dface.models.view_encoder import NoisyViewEncoder
from gen3dface.models.volume_network import SpatialTime3DNet

_BLOCK: list[Rename] = [("time_proj", "t_conv", pointwise(3)), ("view_proj", "v_conv", pointwise(3))]


def blocks_in(stage: nn.Module) -> int:
    """How many modules a list of modules holds."""
    return len(cast(nn.ModuleList, stage))


def time_keys(module: TimeEmbedding, ours: str = "", theirs: str = "") -> list[Entry]:
    """`time_embed`."""
    return module_entries(module, ours, theirs, [("mlp.linear_1", "0"), ("mlp.linear_2", "2")])


def encoder_keys(module: NoisyViewEncoder, ours: str = "", theirs: str = "") -> list[Entry]:
    """`spatial_volume.target_encoder`."""
    renames: list[Rename] = [("conv_in", "init_conv"), ("out.", "final_out.")]
    for i in range(len(module.blocks)):
        renames += [
            (f"blocks.{i}.time_proj", f"out_conv{i}.time_embed", pointwise(2)),
            (f"blocks.{i}.view_proj", f"out_conv{i}.view_embed", pointwise(2)),
            (f"blocks.{i}.layers", f"out_conv{i}.conv"),
        ]
    return module_entries(module, ours, theirs, renames)


def volume_network_keys(module: SpatialTime3DNet, ours: str = "", theirs: str = "") -> list[Entry]:
    """`spatial_volume.spatial_volume_feats`."""
    entries = module_entries(module.conv_in, ours + "conv_in.", theirs + "init_conv.", [])
    blocks = [("first", "conv0", "bn")]
    for i, stage in enumerate(module.down):
        names = [f"conv{2 * i + 1}", *(f"conv{2 * i + 2}_{j}" for j in range(blocks_in(stage) - 1))]
        blocks += [(f"down.{i}.{j}", name, "bn") for j, name in enumerate(names)]
    blocks += [(f"up.{i}", f"conv{2 * len(module.down) + 1 + i}", "norm") for i in range(len(module.up))]
    for mine, other, norm in blocks:
        entries += _block(module.get_submodule(mine), f"{ours}{mine}.", f"{theirs}{other}.", norm)
    return entries


def frustum_keys(module: FrustumNetwork, ours: str = "", theirs: str = "") -> list[Entry]:
    """`spatial_volume.frustum_volume_feats`."""
    entries = module_entries(module.conv_in, ours + "conv_in.", theirs + "conv0.", [])
    blocks = [
        (f"down.{i}.{j}", f"conv{2 * i + 1 + j}", "bn")
        for i, stage in enumerate(module.down)
        for j in range(blocks_in(stage))
    ]
    blocks += [(f"up.{i}", f"up{i}", "norm") for i in range(len(module.up))]
    for mine, other, norm in blocks:
        entries += _block(module.get_submodule(mine), f"{ours}{mine}.", f"{theirs}{other}.", norm)
    return entries


def _block(module: nn.Module, ours: str, theirs: str, norm: str) -> list[Entry]:
    return module_entries(module, ours, theirs, [*_BLOCK, ("norm", norm)])


def mesh_keys(module: MeshNetwork, ours: str = "", theirs: str = "") -> list[Entry]:
    """`spatial_volume.smpl_feature_extractor` and `spatial_volume.xyzc_net`."""
    entries = module_entries(
        module.fuse, ours + "fuse.", theirs + "smpl_feature_extractor.conv0.", [("", "", pointwise(1))]
    )
    places = [
        (f"stages.{i}.{j}", f"conv{i}.{3 * j}", f"conv{i}.{3 * j + 1}")
        for i, stage in enumerate(module.stages)
        for j in range(blocks_in(stage))
    ]
    places += [(f"down.{i}", f"down{i}.0", f"down{i}.1") for i in range(len(module.down))]
    for mine, conv, norm in places:
        renames: list[Rename] = [("conv", conv, SPARSE), ("norm", norm)]
        entries += module_entries(module.get_submodule(mine), f"{ours}{mine}.", f"{theirs}xyzc_net.", renames)
    return entries


def depth_keys(module: DepthTransformer, ours: str = "", theirs: str = "") -> list[Entry]:
    """`middle_conditions` and `output_conditions.N`."""
    renames: list[Rename] = [
        ("attention.to_k", "depth_attn.to_k", pointwise(3)),
        ("attention.to_v", "depth_attn.to_v", pointwise(3)),
        ("attention.", "depth_attn.", pointwise(2)),
        ("proj_context.0", "proj_context.0", pointwise(3)),
    ]
    return module_entries(module, ours, theirs, renames)


def conditioner_keys(module: VolumeConditioner, ours: str = "") -> list[Entry]:
    """`time_embed` and `spatial_volume`, by their names in a full checkpoint."""
    volume, theirs = ours + "volume.", "spatial_volume."
    entries = time_keys(module.time_embedding, ours + "time_embedding.", "time_embed.")
    entries += encoder_keys(module.volume.encoder, volume + "encoder.", theirs + "target_encoder.")
    if module.volume.mesh is not None:
        entries += mesh_keys(module.volume.mesh, volume + "mesh.", theirs)
    if module.volume.dense is not None:
        entries += volume_network_keys(module.volume.dense, volume + "dense.", theirs + "spatial_volume_feats.")
    return entries + frustum_keys(module.frustum, ours + "frustum.", theirs + "frustum_volume_feats.")
