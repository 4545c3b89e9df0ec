"""A set of fixtures in the peers' format, of sizes that no recorded one has, computed by this folder's formulas."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
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
from tests.conversion.reference_predictions import write_noise_prediction


def write_networks(folder: Path) -> None:
    """Everything with weights but the UNet and what is made of it."""
    w = Weights(1)
    t = torch.tensor([0, 3, 77, 640, 998])
    outputs = {"sinusoid": maths.sinusoid(t, 40), "t_embed": maths.time_embedding(w, t, 40)}
    write(folder, "time_embedding", w, {"t": t}, outputs, arguments={"time_embed_dim": 40})

    w = Weights(2)
    x = {"x": w.noise(3, 4, 12, 12), "t": w.noise(3, 20), "v": w.noise(3, 6)}
    outputs = maths.view_encoder(w, x["x"].double(), x["t"].double(), x["v"].double(), 24, 8)
    args = {"time_embed_dim": 20, "viewpoint_dim": 6, "run_dim": 24, "output_dim": 8}
    write(folder, "target_view_encoder", w, x, outputs, arguments={"args": args})

    w = Weights(3)
    x = {"x": w.noise(1, 20, 16, 8, 8), "t": w.noise(1, 12)}
    outputs = {"output": maths.volume_network(w, x["x"].double(), x["t"].double(), [8, 24, 16, 40])}
    args = {"input_dim": 20, "time_dim": 12, "dims": [8, 24, 16, 40]}
    write(folder, "spatial_time_3d_net", w, x, outputs, arguments={"args": args})

    w = Weights(4)
    x = {"x": w.noise(3, 12, 8, 16, 16), "t": w.noise(3, 12), "v": w.noise(3, 4)}
    levels = maths.frustum_network(w, *(x[k].double() for k in "xtv"), [8, 16, 40, 24])
    args = {"in_dim": 12, "t_dim": 12, "v_dim": 4, "dims": [8, 16, 40, 24]}
    outputs = {f"output.{level.shape[-1]}": level for level in levels}
    write(folder, "frustum_tv_3d_net", w, x, outputs, arguments={"args": args})

    for name, heads, width in (("depth_transformer", 2, 12), ("depth_transformer_wide", 4, 20)):
        w = Weights(5 + heads)
        x = {"x": w.noise(3, 24, 6, 6), "context": w.noise(3, 40, 5, 6, 6)}
        outputs = maths.depth_transformer(w, x["x"].double(), x["context"].double(), heads, width)
        zero = maths.depth_transformer(w, x["x"].double(), 0 * x["context"].double(), heads, width)
        args = {"dim": 24, "n_heads": heads, "d_head": width, "context_dim": 40}
        outputs |= {"output_zero_context": zero["output"]}
        write(folder, name, w, x, outputs, arguments={"args": args})


def write_joint_attention(folder: Path) -> None:
    w = Weights(11)
    x = {"x": w.noise(8, 9, 24), "context": w.noise(8, 2, 16)}
    given = x["x"].double(), x["context"].double(), 3
    outputs = maths.transformer_block(w, *given, frames=4)
    outputs |= {"output_frames1": maths.transformer_block(w, *given)["output"]}
    args = {"dim": 24, "n_heads": 3, "d_head": 8, "context_dim": 16}
    write(folder, "joint_attention_block", w, x, outputs, arguments={"args": args, "frames": 4})

    w = Weights(12)
    x = {"x": w.noise(4, 96, 3, 4), "context": w.noise(4, 3, 16)}
    outputs = {"output": maths.spatial_transformer(w, x["x"].double(), x["context"].double(), 6, 32, frames=2)}
    args = {"in_channels": 96, "n_heads": 6, "d_head": 16, "depth": 1, "context_dim": 16, "use_linear": False}
    write(folder, "joint_attention_transformer", w, x, outputs, arguments={"args": args, "frames": 2})


def write_geometry(folder: Path) -> None:
    for peer, distance, focal in (("sync", 1.5, 140.0), ("morphable", 4.5, 772.0)):
        image, size, w = 128, 10, Weights(20 + len(peer))
        poses, ks = cameras_at([-50.0, 20.0, 100.0], distance, focal, image)
        features = w.noise(1, 3, 2, 14, 14)
        volume, grid = geometry.unproject(features[0], poses, ks, image, size)
        args = {"input_image_size": image, "spatial_volume_size": size}
        own = peer == "morphable"
        where = {"poses": poses[None], "K": four_by_four(ks)[None]} if own else {"poses": poses, "K": ks}
        outputs = {"volume": volume.flatten(0, 1)[None], "grid": grid[None, :2]}
        x = {"features": features, **where}
        write(folder, f"volume_unprojection_{peer}", Weights(0), x, outputs, arguments=args, sampled=["volume"])

        world = w.noise(1, 3, size, size, size)
        args |= {"frustum_volume_depth": 6}
        middle = None if own else 1.5
        chosen = [2, 0]
        views = [geometry.frustum(world[0], poses[i], ks[i], image, 7, 6, middle) for i in chosen]
        outputs = {k: torch.stack([v[k] for v in views]) for k in views[0]}
        x = {"spatial_volume": world, "target_indices": torch.tensor([chosen]), **where}
        write(folder, f"frustum_volume_{peer}", Weights(0), x, outputs, arguments=args, sampled=["features"])


def write_views(folder: Path) -> None:
    w = Weights(30)
    azimuth, elevation = 60 * w.noise(2, 5), 20 * w.noise(2, 5)
    own = {"input_azimuth": 40 * w.noise(2, 1), "input_elevation": 10 * w.noise(2, 1)}
    turn, rise = (azimuth - own["input_azimuth"]).deg2rad(), (elevation - own["input_elevation"]).deg2rad()
    embedding = torch.stack([rise, turn.sin(), turn.cos(), 0 * turn], -1)
    x = {"target_azimuth": azimuth, "target_elevation": elevation, **own}
    write(folder, "viewpoint_embedding_morphable", Weights(0), x, {"embedding": embedding}, arguments={})
    turns, heights = torch.arange(6) * 0.7, torch.tensor([0.2, -0.1])
    write(
        folder,
        "viewpoint_embedding_sync",
        Weights(0),
        {"azimuth": turns, "elevation_ref": heights},
        {"embedding": sync_view(turns, heights)},
        arguments={},
    )


def write_ddim(folder: Path) -> None:
    w, steps = Weights(40), 8
    alphas = (1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000).square()).double().cumprod(0)
    times = torch.arange(0, 1000, 1000 // steps) + 1
    now, before = alphas[times], torch.cat([alphas[:1], alphas[times[:-1]]])
    x = {"x_start": w.noise(2, 3, 4, 5, 5), "noises": w.noise(steps, 2, 3, 4, 5, 5)}
    outputs: Tensors = {"timesteps": times.flip(0), "alphas": now, "alphas_prev": before}
    for eta in (0, 1):
        sigma = eta * ((1 - before) / (1 - now) * (1 - now / before)).sqrt()
        z, path, guesses = x["x_start"].double(), [x["x_start"].double()], []
        for k, i in enumerate(reversed(range(steps))):
            guess = 0.6 * z + 0.1 * (3 * z).sin() + 0.05 * (times[i] / 100).cos()
            clean = (z - (1 - now[i]).sqrt() * guess) / now[i].sqrt()
            z = before[i].sqrt() * clean + (1 - before[i] - sigma[i] ** 2).sqrt() * guess
            if i:  # no noise at the last step
                z = z + sigma[i] * x["noises"][k].double()
            path.append(z)
            guesses.append(guess)
        outputs |= {f"eta{eta}.sigmas": sigma, f"eta{eta}.x": torch.stack(path), f"eta{eta}.eps": torch.stack(guesses)}
    write(folder, "ddim_sampler", Weights(0), x, outputs, arguments={"steps": steps})


def write_unet(folder: Path) -> Weights:
    w, side, rows = Weights(50), 16, 2
    volumes = {side >> i: w.noise(rows, c, 4, side >> i, side >> i) for i, c in enumerate(UNET["volume_dims"])}
    x = {"x": w.noise(rows, 8, side, side), "context": w.noise(rows, 2, 20), "timesteps": torch.tensor([7, 803])}

    def run(scale: float) -> Tensor:
        given = {width: scale * v.double() for width, v in volumes.items()}
        return maths.unet(w, x["x"].double(), x["timesteps"], x["context"].double(), given, UNET, GROUPS)

    outputs = {"output": run(1.0), "output_zero_volume": run(0.0)}
    x |= {f"volume_ct.{width}": v for width, v in volumes.items()}
    names = sorted(w.tensors)
    parts = [names[::2], names[1::2]]
    files = [f"unet_small_weights_{i}.safetensors" for i in (1, 2)]
    for file, part in zip(files, parts, strict=True):
        meta = {"meta": json.dumps({"fixture": "unet_small", "part_of": files})}
        save_file({f"weights/{name}": w.tensors[name] for name in part}, folder / file, meta)
    more = {"weights_in": files}
    write(folder, "unet_small", Weights(0), x, outputs, arguments={"args": UNET}, conventions=SAID, more=more)
    return w


def write_mesh_branch(folder: Path) -> None:
    w, image, size = Weights(60), 128, 12
    poses, ks = cameras_at([-70.0, -10.0, 40.0], 4.5, 772.0, image)
    x = {
        "x": w.noise(2, 3, 4, 16, 16),
        "t_embed": w.noise(2, 24),
        "v_embed": w.noise(2, 3, 4),
        "target_RT": torch.stack([poses, poses.flip(0)]),
        "target_K": four_by_four(torch.stack([ks, ks.flip(0)])),
        "vertices": vertices(w, 150, 2),
    }
    outputs = mesh_branch(w, x, image, size)
    outputs = {k: v for k, v in outputs.items() if k != "volume"} | cropped("volume", outputs["volume"])
    args = {"time_dim": 24, "input_image_size": image, "spatial_volume_size": size}
    sampled = ["vertex_features", "fused_vertex_features", "volume_crop"]
    write(folder, "mesh_branch", w, x, outputs, arguments=args, sampled=sampled)


def write_set(folder: Path) -> None:
    """Fixtures of every kind."""
    write_networks(folder)
    write_joint_attention(folder)
    write_geometry(folder)
    write_views(folder)
    write_ddim(folder)
    write_mesh_branch(folder)
    unet = write_unet(folder)
    for name in ("noise_prediction_sync", "noise_prediction_morphable", "noise_prediction_morphable_both"):
        write_noise_prediction(folder, unet, name)
