"""What makes a call faster or smaller: backends, compilation, slices, layouts, cached features."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch
from diffusers import PyramidAttentionBroadcastConfig
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor

from gen3dface.errors import ConfigError, MissingExtraError
from gen3dface.models.joint_attention import JointAttnProcessor
from gen3dface.pipelines import Gen3DFacePipeline
from tests.pipelines.tiny_models import PAPER, SMALL, VIEWS, inputs, noise, tiny_pipeline


@pytest.fixture
def pipe() -> Gen3DFacePipeline:
    return tiny_pipeline(PAPER)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_attention_backends_attend_the_same(pipe: Gen3DFacePipeline) -> None:
    whole = pipe(**inputs()).latents
    try:
        pipe.unet.set_attention_backend("_native_math")
        used = {p._attention_backend.value for p in pipe.unet.unet.attn_processors.values()}  # type: ignore[union-attr]
        assert used == {"_native_math"}
        close(pipe(**inputs()).latents, whole)
    finally:
        pipe.unet.set_attention_backend("native")


@pytest.mark.parametrize("tokens", [1, 3])
def test_attention_is_diffusers_own(pipe: Gen3DFacePipeline, tokens: int) -> None:
    """One token of context has a path of its own; both must give what diffusers' processor gives."""
    processors = [
        (m, m.processor) for m in pipe.unet.modules() if isinstance(getattr(m, "processor", None), JointAttnProcessor)
    ]
    cross = next(m for m, _ in processors if m.is_cross_attention)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 9, cross.query_dim, generator=generator)
    context = torch.randn(4, tokens, cross.cross_attention_dim, generator=generator)
    wanted = AttnProcessor2_0()(cross, x, context)
    with torch.no_grad():
        close(cross(x, context), wanted)
    found = cross(x, context)
    close(found, wanted)
    found.square().sum().backward()
    assert cross.to_q.weight.grad is not None, "in training every weight has a gradient, if a zero one"


def test_a_missing_extra_is_named(pipe: Gen3DFacePipeline) -> None:
    if importlib.util.find_spec("xformers") is not None:
        pytest.skip("xformers is installed")
    for call in (
        pipe.enable_xformers_memory_efficient_attention,
        pipe.unet.enable_xformers_memory_efficient_attention,
        lambda: pipe.unet.set_attention_backend("xformers"),
    ):
        with pytest.raises(MissingExtraError, match=r"gen3dface\[cuda\]"):
            call()
    assert len(pipe(**inputs(num_inference_steps=1))) == VIEWS
    pipe.disable_xformers_memory_efficient_attention()  # always possible


def test_the_unet_compiles_as_one_graph(pipe: Gen3DFacePipeline) -> None:
    """`torch.compile` without a compiler behind it: any break of the graph is an error."""
    arguments = inputs(num_inference_steps=1)
    whole = pipe(**arguments).latents
    arguments["generator"] = torch.Generator().manual_seed(0)
    pipe.unet.compile(backend="eager", fullgraph=True)
    close(pipe(**arguments).latents, whole)


@pytest.mark.parametrize("config", [PAPER, SMALL], ids=["paper", "small"])
def test_slices_and_tiles_of_the_autoencoder_change_nothing(config: dict[str, Any]) -> None:
    pipe = tiny_pipeline(config)
    whole = pipe(**inputs()).images
    for on, off in (("enable_slicing", "disable_slicing"), ("enable_tiling", "disable_tiling")):
        getattr(pipe.vae, on)()
        close(pipe(**inputs()).images, whole)
        getattr(pipe.vae, off)()


def test_a_memory_layout_changes_nothing(pipe: Gen3DFacePipeline) -> None:
    whole = pipe(**inputs()).latents
    pipe.unet.to(memory_format=torch.channels_last)
    torch.testing.assert_close(pipe(**inputs()).latents, whole, atol=1e-4, rtol=1e-3)


def test_cached_features_are_reused_within_a_call_only(pipe: Gen3DFacePipeline) -> None:
    """Every second self-attention is left out; outside the range of steps all of them are computed."""
    start = {"latents": noise(), "num_inference_steps": 6}
    whole, seen = pipe(**inputs(**start)).latents, []
    attention = pipe.unet.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1.to_q
    handle = attention.register_forward_hook(lambda *_: seen.append(pipe.current_timestep))

    def cached(lowest: int) -> Tensor:
        settings: dict[str, Any] = {
            "spatial_attention_block_skip_range": 2,
            "spatial_attention_timestep_skip_range": (lowest, 1000),
            "current_timestep_callback": lambda: pipe.current_timestep,
        }
        pipe.unet.enable_cache(PyramidAttentionBroadcastConfig(**settings))
        made = pipe(**inputs(**start)).latents
        assert torch.equal(made, pipe(**inputs(**start)).latents), "a call begins afresh"
        with pytest.raises(ConfigError, match="guidance_interval"):
            pipe(**inputs(guidance_interval=(0.0, 0.5)))
        pipe.unet.disable_cache()
        return made

    close(cached(999), whole)
    assert len(seen) == 12
    seen.clear()
    fewer = cached(0)
    steps = [int(t) for t in pipe.scheduler.timesteps]
    assert seen == steps[::2] * 2
    assert 1e-4 < (fewer - whole).abs().mean() < 0.5 * whole.std()
    handle.remove()
    close(pipe(**inputs(**start)).latents, whole)
    assert pipe.current_timestep == 0
