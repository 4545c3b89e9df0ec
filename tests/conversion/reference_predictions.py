"""Whole noise predictions of the two peers by the formulas of this folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tests.conversion import reference_geometry as geometry
from tests.conversion import reference_maths as maths
from tests.conversion.reference_files import (
    GROUPS,
    SAID,
    UNET,
    Tensors,
    cameras_at,
    cropped,
    four_by_four,
    sync_view,
    write,
)
from tests.conversion.reference_maths import Weights
from tests.conversion.reference_mesh import mesh_branch, vertices

_LATENT = 0.18215
_IMAGE, _SIZE, _SIDE, _VIEWS, _BATCH, _DEPTH, _TIME = 128, 16, 16, 3, 2, 8, 16
_FRUSTUM: list[int] = UNET["volume_dims"]


@dataclass(frozen=True)
class World:
    """What a peer makes of its inputs before the frusta."""

    inputs: Tensors
    view: Tensor  # [B, N, 4]
    tokens: Tensor  # [B, N, 1, C]
    volume: Tensor  # [B, C, V, V, V]
    cameras: tuple[Tensor, Tensor]  # poses [N, 3, 4] and intrinsics [N, 3, 3]
    middle: float | None  # of the rays
    dense: list[int]  # widths of the dense network


def _sync_world(w: Weights, time: Tensor, shared: Tensors) -> World:
    cameras, turns = cameras_at([0.0, 70.0, 200.0], 1.5, 140.0, _IMAGE), torch.tensor([0.0, 1.2, 3.5])
    heights, dense = torch.tensor([0.1, 0.4]), [8, 16, 16, 24]
    view = sync_view(turns, heights)
    w.tensors |= {"poses": cameras[0], "Ks": cameras[1], "azimuth": turns}
    volume = _dense_volume(w, shared["x_target_noisy"], time, view, cameras, dense)
    joined = torch.cat([shared["clip_embed"].double()[:, None].expand(-1, _VIEWS, -1, -1), view[:, :, None]], -1)
    tokens = w.linear("cc_projection", joined, shared["clip_embed"].shape[-1])
    return World({"elevation_ref": heights}, view, tokens, volume, cameras, 1.5, dense)


def _morphable_world(w: Weights, time: Tensor, shared: Tensors, both: bool) -> World:
    cameras, dense = cameras_at([0.0, 70.0, 200.0], 4.5, 772.0, _IMAGE), [64, 8, 16, 24]
    x = {"target_azimuth": 30 * w.noise(_BATCH, _VIEWS), "target_elevation": 9 * w.noise(_BATCH, _VIEWS)}
    x |= {"input_azimuth": 20 * w.noise(_BATCH, 1), "input_elevation": 5 * w.noise(_BATCH, 1)}
    turn, rise = ((x[f"target_{n}"] - x[f"input_{n}"]).deg2rad() for n in ("azimuth", "elevation"))
    view = torch.stack([rise, turn.sin(), turn.cos(), 0 * turn], -1).double()
    poses, ks = (c.expand(_BATCH, -1, -1, -1) for c in (cameras[0], four_by_four(cameras[1])))
    x |= {"target_RT": poses, "target_K": ks, "vertices": vertices(w, 120, _BATCH)}
    given = {"x": shared["x_target_noisy"], "t_embed": time, "v_embed": view, **x}
    volume = mesh_branch(w, given, _IMAGE, _SIZE, "spatial_volume.")["volume"]
    if both:
        volume = volume + _dense_volume(w, shared["x_target_noisy"], time, view, cameras, dense)
    tokens = shared["clip_embed"].double()[:, None].expand(-1, _VIEWS, -1, -1)
    return World(x, view, tokens, volume, cameras, None, dense)


def _dense_volume(
    w: Weights, noisy: Tensor, time: Tensor, view: Tensor, cameras: tuple[Tensor, Tensor], dims: list[int]
) -> Tensor:
    """SyncDreamer's: all views' features at each point, through the volume network."""
    inner = w.under("spatial_volume.")
    made = []
    for latents, t, v in zip(noisy.double(), time, view, strict=True):
        each = t.expand(len(latents), -1)
        features = maths.view_encoder(inner.under("target_encoder."), latents, each, v, 16, 16)["output"]
        seen, _ = geometry.unproject(features, *cameras, _IMAGE, _SIZE)
        joined = seen.flatten(0, 1)[None]
        made.append(maths.volume_network(inner.under("spatial_volume_feats."), joined, t[None], dims)[0])
    return torch.stack(made)


def _levels(w: Weights, world: World, time: Tensor) -> list[Tensor]:
    """The frustum network on every view of every row: [B N, c, D, h, h], the finest first."""
    cut = [
        geometry.frustum(volume, pose, k, _IMAGE, _SIDE, _DEPTH, world.middle)["features"]
        for volume in world.volume
        for pose, k in zip(*world.cameras, strict=True)
    ]
    inner, each = w.under("spatial_volume.frustum_volume_feats."), time.repeat_interleave(_VIEWS, 0)
    return maths.frustum_network(inner, torch.stack(cut), each, world.view.flatten(0, 1), _FRUSTUM)


def write_noise_prediction(folder: Path, unet: Weights, name: str) -> None:
    """A peer's whole noise prediction, on the UNet of `write_unet`."""
    w = Weights(70 + len(name))
    x = {
        "x_target_noisy": w.noise(_BATCH, _VIEWS, 4, _SIDE, _SIDE),
        "x_input": 0.2 * w.noise(_BATCH, 4, _SIDE, _SIDE),
        "clip_embed": w.noise(_BATCH, 1, UNET["context_dim"]),
        "time_steps": torch.tensor([40, 901]),
    }
    time, both = maths.time_embedding(w, x["time_steps"], _TIME), name.endswith("_both")
    world = _sync_world(w, time, x) if "sync" in name else _morphable_world(w, time, x, both)
    levels = _levels(w, world, time)

    def predict(scale: float) -> Tensor:
        latent = scale * (x["x_input"].double() / _LATENT)[:, None].expand(-1, _VIEWS, -1, -1, -1)
        sample = torch.cat([x["x_target_noisy"].double(), latent], 2).flatten(0, 1)
        steps = x["time_steps"].repeat_interleave(_VIEWS)
        volumes = {level.shape[-1]: scale * level for level in levels}
        out = maths.unet(unet, sample, steps, scale * world.tokens.flatten(0, 1), volumes, UNET, GROUPS)
        return out.unflatten(0, (_BATCH, _VIEWS))

    given, none = predict(1.0), predict(0.0)
    known = {"t_embed": time, "v_embed": world.view, "clip_embed_views": world.tokens}
    outputs = {
        **known,
        "noise_pred_scale1": given,
        "noise_pred_scale3.5": none + 3.5 * (given - none),
        **{f"frustum.{v.shape[-1]}": v.unflatten(0, (_BATCH, _VIEWS))[:1] for v in levels},
        **({"spatial_volume": world.volume} if "sync" in name else cropped("spatial_volume", world.volume)),
    }
    args = {
        "view_num": _VIEWS,
        "time_dim": _TIME,
        "input_image_size": _IMAGE,
        "frustum_volume_depth": _DEPTH,
        "spatial_volume_size": _SIZE,
        "context_dim": UNET["context_dim"],
        "spatial_dims": world.dense,
        "use_spatial_volume": both,
        "frustum_dims": _FRUSTUM,
        "unet": UNET,
    }
    files = ["unet_small_weights_1.safetensors", "unet_small_weights_2.safetensors", "this file"]
    more = {"weights_in": files, "weights_in_prefix": "model.diffusion_model."}
    sampled = [k for k in outputs if k not in known]
    meta = {"arguments": args, "conventions": SAID, "more": more, "sampled": sampled}
    write(folder, name, w, x | world.inputs, outputs, **meta)
