"""The peers' UNet and whole noise predictions, run as ours on a fixture's inputs."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from gen3dface.conversion.fixtures import Fixture, Recorder
from gen3dface.conversion.key_map import import_state
from gen3dface.conversion.parity_modules import Outputs, by_width, loaded, sync_view_embedding
from gen3dface.conversion.parity_volumes import SYNC_CENTER, VOXEL, cameras, crop, mesh_widths
from gen3dface.conversion.peer_keys import token_keys
from gen3dface.conversion.unet_keys import multiview_unet_keys, unet_modules
from gen3dface.conversion.volume_keys import blocks_in, conditioner_keys
from gen3dface.models.conditioner import SceneGeometry, VolumeConditioner
from gen3dface.models.embeddings import view_embedding
from gen3dface.models.multiview_unet import MultiViewUNet
from gen3dface.models.token_projection import ViewTokenProjection

_LATENT_SCALE = 0.18215
_GROUPS = 32  # of the peers' UNet; the small ones say so when it is another number
_UNET = "model.diffusion_model."
_SCALED = "noise_pred_scale"


def peer_unet(settings: dict[str, Any], conventions: str) -> MultiViewUNet:
    """Our UNet for the peers' constructor arguments."""
    count = len(settings["channel_mult"])
    attends = [2**level in settings["attention_resolutions"] for level in range(count)]
    groups = re.search(r"(\d+) groups", conventions)
    config = {
        "block_out_channels": [settings["model_channels"] * m for m in settings["channel_mult"]],
        "layers_per_block": settings["num_res_blocks"],
        "cross_attention_dim": settings["context_dim"],
        "attention_head_dim": settings["num_heads"],
        "transformer_layers_per_block": settings["transformer_depth"],
        "down_block_types": ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends],
        "up_block_types": ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)],
        "norm_num_groups": int(groups[1]) if groups else _GROUPS,
    }
    return MultiViewUNet(
        unet_config=config,
        latent_channels=settings["out_channels"],
        volume_channels=settings["volume_dims"],
        joint_attention_levels=(),
        input_view="none",
        concat_scale=1 / _LATENT_SCALE,
    )


def unet_small(fixture: Fixture) -> Outputs:
    """One view a row, as the peers call it: B rows of N = 1."""
    settings, x = dict(fixture.arguments.get("args", fixture.arguments)), fixture.inputs
    module = peer_unet(settings, fixture.meta["conventions"])
    loaded(module, fixture, multiview_unet_keys(module))
    latent = settings["out_channels"]
    volumes = sorted((v for k, v in x.items() if k.startswith("volume_ct.")), key=lambda v: -v.shape[-1])
    levels = [v[:, None] for v in volumes]
    places = _stages(module, set(fixture.outputs))
    inputs = {
        "sample": x["x"][:, None, :latent],
        "timestep": x["timesteps"],
        "encoder_hidden_states": x["context"],
        "input_latent": x["x"][:, latent:] * _LATENT_SCALE,
    }
    with Recorder(module, places) as seen:
        output = module(**inputs, volumes=levels).sample[:, 0]
    zeros = module(**inputs, volumes=[torch.zeros_like(v) for v in levels]).sample[:, 0]
    none = module(**inputs, volumes=None).sample[:, 0]
    expected = fixture.outputs["output_zero_volume"]
    worse = max((zeros, none), key=lambda found: (found - expected).abs().max().item())
    return {**seen.found, "output": output, "output_zero_volume": worse}


def _stages(module: MultiViewUNet, wanted: set[str]) -> dict[str, str]:
    """Where our UNet gives what the peers call by the number of the block."""
    last: dict[str, str] = {}
    for mine, theirs in unet_modules(module.unet):
        last[theirs.rpartition(".")[0] or theirs] = f"unet.{mine}"
    places = {name: last[name] for name in wanted if name in last}
    places |= {"time_embed": "unet.time_embedding", "middle_block": "unet.mid_block", "middle_conditions": "mid_depth"}
    blocks = [f"up_depth.{i}.{j}" for i, block in enumerate(module.up_depth or []) for j in range(blocks_in(block))]
    places |= {f"output_conditions.{n}": place for n, place in enumerate(blocks)}
    return {name: place for name, place in places.items() if name in wanted}


def noise_prediction_sync(fixture: Fixture) -> Outputs:
    args, x = fixture.arguments, fixture.inputs
    batch = len(x["x_input"])
    view = sync_view_embedding(fixture.weights["azimuth"], x["elevation_ref"])
    dense = {"mesh_channels": None, "dense_channels": args["spatial_dims"], "num_views": args["view_num"]}
    conditioner = _conditioner(fixture, dense, SYNC_CENTER)
    pose, k = cameras(fixture, "poses", "Ks", batch)
    geometry = conditioner.geometry(pose, k, args["input_image_size"], x["x_input"].shape[-1])
    projection = ViewTokenProjection(args["context_dim"], view.shape[-1])
    projection.load_state_dict(import_state(fixture.part("cc_projection"), token_keys(projection)))
    tokens = projection(x["clip_embed"], view)
    outputs, volume = _predict(fixture, conditioner, geometry, view, tokens)
    return {**outputs, "spatial_volume": volume, "clip_embed_views": tokens}


def noise_prediction_morphable(fixture: Fixture) -> Outputs:
    args, x = fixture.arguments, fixture.inputs
    batch, views = x["x_target_noisy"].shape[:2]
    angles = (x["target_azimuth"], x["target_elevation"], x["input_azimuth"][:, 0], x["input_elevation"][:, 0])
    view = view_embedding(*angles, "relative")
    branches = {"mesh_channels": mesh_widths(fixture, "spatial_volume."), "voxel_size": VOXEL}
    if args["use_spatial_volume"]:
        branches |= {"dense_channels": _dense_widths(fixture), "num_views": views}
    conditioner = _conditioner(fixture, branches, None)
    pose, k = cameras(fixture, "target_RT", "target_K", batch)
    geometry = conditioner.geometry(pose, k, args["input_image_size"], x["x_input"].shape[-1], x["vertices"])
    tokens = x["clip_embed"][:, None].expand(-1, views, -1, -1)
    outputs, volume = _predict(fixture, conditioner, geometry, view, tokens)
    return {**outputs, **crop("spatial_volume", volume), "clip_embed_views": tokens}


def _dense_widths(fixture: Fixture) -> list[int]:
    """Widths of the dense network, from its weights."""
    names = ("conv0.conv", "conv1.conv", "conv3.conv", "conv5.conv")
    return [fixture.weights[f"spatial_volume.spatial_volume_feats.{name}.weight"].shape[0] for name in names]


def _conditioner(fixture: Fixture, volume: dict[str, Any], center: float | None) -> VolumeConditioner:
    args = fixture.arguments
    shared = {
        "latent_channels": fixture.inputs["x_input"].shape[1],
        "encoder_channels": fixture.weights["spatial_volume.target_encoder.init_conv.weight"].shape[0],
        "time_dim": args["time_dim"],
        "volume_size": args["spatial_volume_size"],
        "side": 1.0,
        "pixel_centers": "integer",
    }
    module = VolumeConditioner({**shared, **volume}, args["frustum_dims"], args["frustum_volume_depth"], center)
    state = fixture.part("time_embed.") | fixture.part("spatial_volume.")
    module.load_state_dict(import_state(state, conditioner_keys(module), module.state_dict()))
    return module.eval()


def _predict(
    fixture: Fixture, conditioner: VolumeConditioner, geometry: SceneGeometry, view: Tensor, tokens: Tensor
) -> tuple[Outputs, Tensor]:
    """Both halves of guidance in one batch, all views together: outputs, and the world volume."""
    x = fixture.inputs
    sample, steps = x["x_target_noisy"], x["time_steps"]
    unet = peer_unet(fixture.arguments["unet"], fixture.meta["conventions"])
    unet.load_state_dict(import_state(fixture.part(_UNET), multiview_unet_keys(unet, "", _UNET), unet.state_dict()))
    time = conditioner.time_embedding(steps)
    volume = conditioner.volume(sample, time, view, geometry.volume)
    levels = conditioner(sample, steps, view, geometry)
    both = unet.eval()(
        torch.cat([sample, sample]),
        torch.cat([steps, steps]),
        torch.cat([tokens, torch.zeros_like(tokens)]),
        volumes=levels,
        input_latent=torch.cat([x["x_input"], torch.zeros_like(x["x_input"])]),
    ).sample
    conditional, unconditional = both.chunk(2)
    outputs = {"t_embed": time, "v_embed": view, **by_width("frustum", [level[:1] for level in levels])}
    for name in fixture.outputs:
        if name.startswith(_SCALED):
            scale = float(name.removeprefix(_SCALED))
            outputs[name] = conditional if scale == 1 else unconditional + scale * (conditional - unconditional)
    return outputs, volume
