"""The denoiser: which outputs may depend on which inputs, and how."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch import Tensor

from gen3dface.errors import ConfigError
from gen3dface.models.copy_gate import copy_gate
from gen3dface.models.multiview_unet import MultiViewUNet
from tests.models.small import SIZE, UNET, VOLUMES, small_unet

B, N = 2, 3


def inputs(batch: int = B, views: int = N, frames: int | None = None) -> dict[str, Any]:
    g = torch.Generator().manual_seed(3)
    f = frames or views
    levels = [torch.randn(batch, f, c, 4 >> i, SIZE >> i, SIZE >> i, generator=g) for i, c in enumerate(VOLUMES)]
    return {
        "sample": torch.randn(batch, views, 4, SIZE, SIZE, generator=g),
        "timestep": torch.tensor([700, 40])[:batch],
        "encoder_hidden_states": torch.randn(batch, 2, 12, generator=g),
        "volumes": levels,
        "input_latent": torch.randn(batch, 4, SIZE, SIZE, generator=g),
    }


@torch.no_grad()
def run(unet: MultiViewUNet, **given: Any) -> Tensor:
    return unet(**given).sample


@pytest.fixture(scope="module")
def unet() -> MultiViewUNet:
    return small_unet()


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


def test_permuting_views_permutes_the_output(unet: MultiViewUNet) -> None:
    given, order = inputs(), torch.tensor([2, 0, 1])
    moved = given | {"sample": given["sample"][:, order], "volumes": [v[:, order] for v in given["volumes"]]}
    close(run(unet, **moved), run(unet, **given)[:, order])


def test_permuting_heads_permutes_the_output(unet: MultiViewUNet) -> None:
    given = inputs()
    moved = {k: [v.flip(0) for v in x] if k == "volumes" else x.flip(0) for k, x in given.items()}
    close(run(unet, **moved), run(unet, **given).flip(0))


def test_a_batch_equals_single_heads(unet: MultiViewUNet) -> None:
    given = inputs()
    single = {k: [v[1:] for v in x] if k == "volumes" else x[1:] for k, x in given.items()}
    close(run(unet, **single), run(unet, **given)[1:])


@pytest.mark.parametrize("name", ["encoder_hidden_states", "input_latent", "volumes", "sample", "timestep"])
def test_every_input_matters(unet: MultiViewUNet, name: str) -> None:
    given = inputs()
    value = given[name]
    zero = [torch.zeros_like(v) for v in value] if name == "volumes" else torch.zeros_like(value)
    assert (run(unet, **given | {name: zero}) - run(unet, **given)).abs().max() > 1e-2


@pytest.mark.parametrize("level", [0, 1])
def test_every_level_of_the_volumes_matters(unet: MultiViewUNet, level: int) -> None:
    given = inputs()
    other = [v * (i != level) for i, v in enumerate(given["volumes"])]
    assert (run(unet, **given | {"volumes": other}) - run(unet, **given)).abs().max() > 1e-2


def test_views_see_each_other_only_through_joint_attention() -> None:
    given = inputs()
    changed = given["sample"].clone()
    changed[:, 1] += 1
    for levels, seen in (((), False), ((1,), True), (None, True)):
        model = small_unet(joint_attention_levels=levels, input_view="none")
        moved = (run(model, **given | {"sample": changed}) - run(model, **given))[:, 0].abs().max()
        assert (moved > 1e-3) == seen


def test_one_view_alone_is_the_stock_unet() -> None:
    """Without volumes, input view or companions, this is diffusers' own forward."""
    model = small_unet(volume_channels=None, input_view="none", concat_input=False)
    given = inputs(views=1)
    out = run(model, **{k: given[k] for k in ("sample", "timestep", "encoder_hidden_states")})
    model.unet.set_attn_processor(AttnProcessor2_0())
    with torch.no_grad():
        stock = model.unet(given["sample"][:, 0], given["timestep"], given["encoder_hidden_states"]).sample
    close(out[:, 0], stock)


def test_left_out_volumes_are_zero_volumes(unet: MultiViewUNet) -> None:
    """Rows beyond the volumes' are the unconditional half; the input frame has none at all."""
    given = inputs()
    zeros = [torch.zeros_like(v) for v in given["volumes"]]
    close(run(unet, **given | {"volumes": None}), run(unet, **given | {"volumes": zeros}))
    half = run(unet, **given | {"volumes": [v[:1] for v in given["volumes"]]})
    mixed = [torch.cat([v[:1], z[1:]]) for v, z in zip(given["volumes"], zeros, strict=True)]
    close(half, run(unet, **given | {"volumes": mixed}))
    padded = [torch.cat([v, torch.zeros_like(v[:, :1])], 1) for v in given["volumes"]]
    close(run(unet, **given | {"volumes": padded}), run(unet, **given))


def test_tokens_may_differ_by_frame(unet: MultiViewUNet) -> None:
    given = inputs()
    same = given["encoder_hidden_states"][:, None].expand(-1, N + 1, -1, -1)
    close(run(unet, **given | {"encoder_hidden_states": same}), run(unet, **given))
    with pytest.raises(ConfigError, match="frames"):
        run(unet, **given | {"encoder_hidden_states": same[:, :N]})


def test_the_input_frame_may_be_clean() -> None:
    given = inputs()
    same, zero = small_unet(), small_unet(input_frame_timestep="zero")
    assert (run(zero, **given) - run(same, **given)).abs().max() > 1e-3
    start = given | {"timestep": torch.zeros(B, dtype=torch.long)}
    close(run(zero, **start), run(same, **start))


def test_the_concatenated_latent_is_scaled_and_the_frame_is_not() -> None:
    given = inputs()
    plain, scaled = small_unet(input_view="none"), small_unet(input_view="none", concat_scale=2.0)
    close(run(scaled, **given), run(plain, **given | {"input_latent": 2 * given["input_latent"]}))


def test_a_new_processor_does_not_part_the_frames(unet: MultiViewUNet) -> None:
    """Switching the attention's implementation must not lose the joint attention."""
    given, model = inputs(), small_unet()
    before = run(model, **given)
    model.unet.set_attn_processor(AttnProcessor())
    close(run(model, **given), before)
    assert {type(p.inner) for p in model.unet.attn_processors.values()} == {AttnProcessor}


def test_conditions_reach_their_own_frame_and_may_leave_the_input_out() -> None:
    model, given = small_unet(condition_channels=3, joint_attention_levels=()), inputs()
    planes = torch.randn(B, N, 3, SIZE, SIZE)
    base = run(model, **given, conditions=planes)
    padded = torch.cat([planes, torch.zeros_like(planes[:, :1])], 1)
    close(run(model, **given, conditions=padded), base)
    planes[:, 1] = 0
    moved = (run(model, **given, conditions=planes) - base).abs().amax((0, 2, 3, 4))
    assert moved[1] > 1e-2 and moved[0] < 1e-4 and moved[2] < 1e-4
    with pytest.raises(ConfigError, match="condition"):
        run(model, **given)


def test_copy_gate_copies_what_is_seen() -> None:
    model, given = small_unet(gate_channels=1), inputs()
    with torch.no_grad():
        model.unet.conv_out.weight[4:] = 0
        model.unet.conv_out.bias[4:] = 0
    copied, seen = torch.randn(B, N, 4, SIZE, SIZE), torch.zeros(B, N, 1, SIZE, SIZE)
    seen[..., : SIZE // 2] = 1
    free, out = run(model, **given), run(model, **given, copy=(copied, seen))
    gate = torch.tensor(7.5).sigmoid()
    close(out[..., : SIZE // 2], (gate * copied + (1 - gate) * free)[..., : SIZE // 2])
    assert out[..., SIZE // 2 :].equal(free[..., SIZE // 2 :])


def test_a_residual_model_starts_from_the_copy() -> None:
    given = inputs()
    model = MultiViewUNet(UNET, volume_channels=VOLUMES, gate_channels=1, copy_residual=True)
    copied, seen = torch.randn(B, N, 4, SIZE, SIZE), torch.rand(B, N, 1, SIZE, SIZE)
    close(run(model, **given, copy=(copied, seen)), copied)
    with torch.no_grad():
        model.unet.conv_out.bias[:4] = 1.0
    out = run(model, **given, copy=(copied, seen))
    close(out, copied + 1 - copy_gate(torch.zeros(()), seen))
    with pytest.raises(ConfigError, match="gate_channels"):
        small_unet(copy_residual=True)


def test_save_and_load(unet: MultiViewUNet, tmp_path: Path) -> None:
    unet.save_pretrained(tmp_path)
    loaded = MultiViewUNet.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded.state_dict(), unet.state_dict(), rtol=0, atol=0)
    close(run(loaded, **inputs()), run(unet, **inputs()))


def test_checkpointing_gives_the_same_gradients() -> None:
    grads = []
    for on in (False, True):
        model = small_unet().train()
        if on:
            model.enable_gradient_checkpointing()
        model(**inputs()).sample.square().mean().backward()
        grads.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(grads[0]) == len(grads[1])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


def test_bad_calls_and_settings(unet: MultiViewUNet) -> None:
    given = inputs()
    with pytest.raises(ConfigError, match="input_latent"):
        run(unet, **given | {"input_latent": None})
    with pytest.raises(ConfigError, match=r"\[B, N, C, h, w\]"):
        run(unet, **given | {"sample": given["sample"][0]})
    with pytest.raises(ConfigError, match="copy gate"):
        run(unet, **given, copy=(given["sample"], given["sample"]))
    with pytest.raises(ConfigError, match="input_view"):
        MultiViewUNet(UNET, input_view="other")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="levels"):
        MultiViewUNet(UNET, volume_channels=(8,))
    with pytest.raises(ConfigError, match="divide"):
        MultiViewUNet(UNET, volume_channels=None, gate_channels=3)
