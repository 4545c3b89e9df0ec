"""Each single module of the peers, run as ours on a fixture's inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from diffusers import DDIMScheduler
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn

from gen3dface.conversion.fixtures import Fixture, Recorder
from gen3dface.conversion.key_map import Entry, import_state
from gen3dface.conversion.volume_keys import depth_keys, encoder_keys, frustum_keys, time_keys, volume_network_keys
from gen3dface.models.depth_attention import DepthTransformer
from gen3dface.models.embeddings import TimeEmbedding, timestep_sinusoid, view_embedding
from gen3dface.models.frustum_network import FrustumNetwork
from gen3dface.models.joint_attention import JointAttnProcessor
from gen3dface.models.view_encoder import NoisyViewEncoder
from gen3dface.models.volume_network import SpatialTime3DNet

Outputs = dict[str, Tensor]
Module = TypeVar("Module", bound=nn.Module)
_SYNC_ELEVATION = 30.0  # degrees, of SyncDreamer's targets


def loaded(module: Module, fixture: Fixture, entries: Sequence[Entry]) -> Module:
    """The module with the fixture's weights, in evaluation mode."""
    module.load_state_dict(import_state(fixture.weights, entries, module.state_dict()))
    return module.eval()


def time_embedding(fixture: Fixture) -> Outputs:
    module, t = TimeEmbedding(fixture.arguments["time_embed_dim"]), fixture.inputs["t"]
    loaded(module, fixture, time_keys(module, "", "time_embed."))
    return {"sinusoid": timestep_sinusoid(t, module.dim), "t_embed": module(t)}


def target_view_encoder(fixture: Fixture) -> Outputs:
    args = fixture.arguments["args"]
    channels = fixture.inputs["x"].shape[1]
    widths = (channels, args["run_dim"], args["time_embed_dim"], args["viewpoint_dim"])
    module = NoisyViewEncoder(*widths, out_channels=args["output_dim"])
    loaded(module, fixture, encoder_keys(module))
    places = {"init_conv": "conv_in"} | {f"out_conv{i}": f"blocks.{i}" for i in range(len(module.blocks))}
    with Recorder(module, places) as seen:
        output = module(fixture.inputs["x"], fixture.inputs["t"], fixture.inputs["v"])
    return {**seen.found, "output": output}


def viewpoint_embedding_sync(fixture: Fixture) -> Outputs:
    return {"embedding": sync_view_embedding(fixture.inputs["azimuth"], fixture.inputs["elevation_ref"])}


def sync_view_embedding(azimuth: Tensor, elevation: Tensor) -> Tensor:
    """SyncDreamer's: targets at fixed azimuths [N], the input at the first of them and elevations [B], radians."""
    azimuth, elevation = torch.rad2deg(azimuth), torch.rad2deg(elevation)
    targets = azimuth[None].expand(len(elevation), -1)
    heights = torch.full_like(targets, _SYNC_ELEVATION)
    return view_embedding(targets, heights, targets[:, 0], elevation, "sync")


def viewpoint_embedding_morphable(fixture: Fixture) -> Outputs:
    x = fixture.inputs
    args = (x["target_azimuth"], x["target_elevation"], x["input_azimuth"][:, 0], x["input_elevation"][:, 0])
    return {"embedding": view_embedding(*args, "relative")}


def spatial_time_3d_net(fixture: Fixture) -> Outputs:
    args = fixture.arguments["args"]
    module = SpatialTime3DNet(args["input_dim"], args["dims"], args["time_dim"])
    loaded(module, fixture, volume_network_keys(module))
    last = len(module.down)
    places = {"init_conv": "conv_in"} | {f"conv{2 * i + 2}_1": f"down.{i}.2" for i in range(last)}
    places |= {f"conv{2 * last + 1 + i}": f"up.{i}" for i in range(last)}
    with Recorder(module, places) as seen:
        output = module(fixture.inputs["x"], fixture.inputs["t"])
    return {**seen.found, "output": output}


def frustum_tv_3d_net(fixture: Fixture) -> Outputs:
    args = fixture.arguments["args"]
    module = FrustumNetwork(args["in_dim"], args["dims"], args["t_dim"], args["v_dim"])
    loaded(module, fixture, frustum_keys(module))
    last = len(module.down)
    places = {"conv0": "conv_in"} | {f"conv{2 * i + 2}": f"down.{i}.1" for i in range(last)}
    places |= {f"up{i}": f"up.{i}" for i in range(last)}
    with Recorder(module, places) as seen:
        levels = module(fixture.inputs["x"], fixture.inputs["t"], fixture.inputs["v"])
    return {**seen.found, **by_width("output", levels)}


def by_width(name: str, levels: Sequence[Tensor]) -> Outputs:
    """Levels as the peers key them: by the width of the feature."""
    return {f"{name}.{level.shape[-1]}": level for level in levels}


def depth_transformer(fixture: Fixture) -> Outputs:
    args, x, context = fixture.arguments["args"], fixture.inputs["x"], fixture.inputs["context"]
    module = DepthTransformer(args["dim"], args["context_dim"], args["n_heads"], args["d_head"])
    loaded(module, fixture, depth_keys(module))
    places = {n: n for n in ("proj_in", "proj_context", "proj_out")} | {"depth_attn": "attention"}
    with Recorder(module, places) as seen:
        output = module(x, context)
    # the zero volume once as a tensor and once as the shortcut that stands for it
    zeros, none = module(x, torch.zeros_like(context)), module(x, None)
    expected = fixture.outputs["output_zero_context"]
    worse = max((zeros, none), key=lambda found: (found - expected).abs().max().item())
    return {**seen.found, "output": output, "output_zero_context": worse}


def joint_attention_block(fixture: Fixture) -> Outputs:
    args = fixture.arguments["args"]
    module = BasicTransformerBlock(
        args["dim"], args["n_heads"], args["d_head"], cross_attention_dim=args["context_dim"]
    )
    loaded(module, fixture, [Entry(name, (name,)) for name in module.state_dict()])
    for attn in (module.attn1, module.attn2):
        attn.set_processor(JointAttnProcessor())
    frames = fixture.arguments["frames"]
    with Recorder(module, {n: n for n in ("attn1", "attn2", "ff")}) as seen:
        output = _run_joint(module, fixture, frames)
    seen.found["attn1"] = seen.found["attn1"].reshape(fixture.outputs["attn1"].shape)
    return {**seen.found, "output": output, "output_frames1": _run_joint(module, fixture, 1)}


def _run_joint(module: BasicTransformerBlock, fixture: Fixture, frames: int) -> Tensor:
    context = fixture.inputs["context"]
    kwargs = {"frames": frames}
    return module(fixture.inputs["x"], encoder_hidden_states=context, cross_attention_kwargs=kwargs)


def joint_attention_transformer(fixture: Fixture) -> Outputs:
    args = fixture.arguments["args"]
    module = Transformer2DModel(
        args["n_heads"],
        args["d_head"],
        args["in_channels"],
        num_layers=args["depth"],
        cross_attention_dim=args["context_dim"],
        use_linear_projection=args["use_linear"],
    )
    loaded(module, fixture, [Entry(name, (name,)) for name in module.state_dict()])
    for block in module.transformer_blocks:
        block.attn1.set_processor(JointAttnProcessor())
        block.attn2.set_processor(JointAttnProcessor())
    kwargs = {"frames": fixture.arguments["frames"]}
    context = fixture.inputs["context"]
    output = module(fixture.inputs["x"], encoder_hidden_states=context, cross_attention_kwargs=kwargs).sample
    return {"output": output}


def peer_scheduler() -> DDIMScheduler:
    """diffusers' DDIM with the settings of SyncDreamer and Morphable Diffusion."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
    )


def ddim_sampler(fixture: Fixture) -> Outputs:
    scheduler = peer_scheduler()
    scheduler.set_timesteps(fixture.arguments["steps"])
    steps = scheduler.timesteps
    gap = scheduler.config["num_train_timesteps"] // len(steps)
    previous = steps - gap
    last = scheduler.final_alpha_cumprod
    outputs = {"timesteps": steps, **_schedule(scheduler)}
    outputs["alphas"] = scheduler.alphas_cumprod[steps].flip(0)
    outputs["alphas_prev"] = torch.where(previous >= 0, scheduler.alphas_cumprod[previous.clamp(min=0)], last).flip(0)
    variance = torch.stack([scheduler._get_variance(t, p) for t, p in zip(steps, previous, strict=True)])
    for eta in (0, 1):
        outputs[f"eta{eta}.sigmas"] = eta * variance.sqrt().flip(0)
        outputs |= _trajectory(scheduler, fixture, float(eta))
    return outputs


def _schedule(scheduler: DDIMScheduler) -> Outputs:
    """The tables that the peers keep as buffers."""
    betas, product = scheduler.betas, scheduler.alphas_cumprod
    earlier = torch.cat([torch.ones(1), product[:-1]])
    variance = betas * (1 - earlier) / (1 - product)
    tables = {
        "betas": betas,
        "alphas": scheduler.alphas,
        "alphas_cumprod": product,
        "sqrt_alphas_cumprod": product.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - product).sqrt(),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": variance.log().clamp(min=-10),
    }
    return {f"schedule.{name}": table for name, table in tables.items()}


def _trajectory(scheduler: DDIMScheduler, fixture: Fixture, eta: float) -> Outputs:
    """Sampling with the toy predictor; the peers add no noise at the last step."""
    x = fixture.inputs["x_start"]
    path, predictions = [x], []
    for k, t in enumerate(scheduler.timesteps):
        noise = fixture.inputs["noises"][k] * (k + 1 < len(scheduler.timesteps))
        predictions.append(0.6 * x + 0.1 * (3 * x).sin() + 0.05 * (t / 100).cos())
        x = scheduler.step(predictions[-1], t, x, eta=eta, variance_noise=noise).prev_sample
        path.append(x)
    return {f"eta{eta:.0f}.x": torch.stack(path), f"eta{eta:.0f}.eps": torch.stack(predictions)}
