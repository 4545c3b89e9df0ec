"""What diffusers asks of a pipeline: seeds, batches, schedulers, output types, callbacks, dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderTiny,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from PIL import Image

from gen3dface.models.build import load_config
from gen3dface.pipelines import Gen3DFacePipeline, MultiViewOutput
from tests.pipelines.tiny_models import PAPER, SMALL, VIEWS, cameras, inputs, noise, subject, tiny_pipeline


@pytest.fixture(scope="module", params=[PAPER, SMALL], ids=["paper", "small"])
def pipe(request: pytest.FixtureRequest) -> Gen3DFacePipeline:
    return tiny_pipeline(request.param)


@pytest.fixture(scope="module")
def paper() -> Gen3DFacePipeline:
    return tiny_pipeline(PAPER)


def test_the_output_holds_views_masks_cameras_head_and_latents(pipe: Gen3DFacePipeline) -> None:
    made = pipe(**inputs())
    assert isinstance(made, MultiViewOutput)
    assert made.images.shape == (VIEWS, 3, 32, 32)
    assert 0 <= made.images.min() < made.images.max() <= 1
    assert made.masks.shape == (VIEWS, 1, 32, 32)
    assert made.head is subject().fit
    assert made.latents is not None
    assert made.latents.shape == (VIEWS, pipe.unet.config["latent_channels"], 8, 8)
    torch.testing.assert_close(made.cameras.world_to_camera, cameras().world_to_camera)


def test_the_same_seed_gives_the_same_bytes(pipe: Gen3DFacePipeline) -> None:
    first, second = (pipe(**inputs(eta=1.0)).images for _ in range(2))
    assert first.numpy().tobytes() == second.numpy().tobytes()
    assert not torch.equal(first, pipe(**inputs(seed=1, eta=1.0)).images)


def test_a_batch_equals_its_photos_one_by_one(pipe: Gen3DFacePipeline) -> None:
    heads = [subject(20.0), subject(-30.0)]
    both = {"image": [h.portrait for h in heads], "head": [h.fit for h in heads]}
    seeds = [torch.Generator().manual_seed(k) for k in (5, 6)]
    batch = pipe(**inputs(**both, generator=seeds, eta=1.0))
    for k, head in enumerate(heads):
        alone = pipe(
            **inputs(image=head.portrait, head=head.fit, generator=torch.Generator().manual_seed(5 + k), eta=1.0)
        )
        torch.testing.assert_close(batch[k].latents, alone.latents, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(batch[k].images, alone.images, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(batch[k].masks, alone.masks, atol=5e-4, rtol=1e-4)


SCHEDULERS: list[tuple[Any, dict[str, Any]]] = [
    (DDIMScheduler, {}),
    (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
    (UniPCMultistepScheduler, {}),
    (EulerDiscreteScheduler, {}),
]


def _by(pipe: Gen3DFacePipeline, kind: Any, settings: dict[str, Any], **arguments: Any) -> torch.Tensor:
    """Latents made with another scheduler of the family."""
    original = pipe.scheduler
    try:
        pipe.scheduler = kind.from_config(original.config, **settings)
        return pipe(**arguments).latents
    finally:
        pipe.scheduler = original


@pytest.mark.parametrize(("kind", "settings"), SCHEDULERS)
def test_every_scheduler_runs(pipe: Gen3DFacePipeline, kind: Any, settings: dict[str, Any]) -> None:
    made = _by(pipe, kind, settings, **inputs(num_inference_steps=3, eta=1.0))
    assert torch.isfinite(made).all() and made.std() > 0.01


def test_the_schedulers_solve_the_same_equation(paper: Gen3DFacePipeline) -> None:
    """Without fresh noise all of them follow one ordinary differential equation from the same start."""
    arguments = {"num_inference_steps": 30, "guidance_scale": 1.0, "eta": 0.0}
    spaced = {"timestep_spacing": "trailing"}
    found = [_by(paper, k, s | spaced, **inputs(latents=noise(), **arguments)) for k, s in SCHEDULERS]
    other = _by(paper, DDIMScheduler, spaced, **inputs(latents=-noise(), **arguments))
    for made in found[1:]:
        apart = (made - found[0]).square().mean() / (other - found[0]).square().mean()
        assert apart < 0.02


def test_the_shipped_size_samples_with_every_scheduler() -> None:
    """`mini`'s own schedule ends in pure noise and its network predicts the clean sample."""
    shipped = load_config("mini")["scheduler"]
    pipe = tiny_pipeline({**SMALL, "scheduler": shipped})
    for kind, settings in SCHEDULERS:
        made = _by(pipe, kind, settings, **inputs(num_inference_steps=3))
        assert torch.isfinite(made).all() and made.abs().max() < 20


def test_output_types(paper: Gen3DFacePipeline) -> None:
    tensor = paper(**inputs()).images
    pictures = paper(**inputs(output_type="pil"))
    array = paper(**inputs(output_type="np")).images
    latent = paper(**inputs(output_type="latent"))
    assert all(isinstance(image, Image.Image) and image.size == (32, 32) for image in pictures.images)
    torch.testing.assert_close(pictures.tensor(), tensor, atol=0.5 / 255 + 1e-6, rtol=0)
    assert isinstance(array, np.ndarray)
    torch.testing.assert_close(torch.from_numpy(array).permute(0, 3, 1, 2), tensor)
    torch.testing.assert_close(latent.images, paper(**inputs()).latents)
    pixels = paper.vae.decode(latent.images / 0.2).sample
    torch.testing.assert_close((pixels / 2 + 0.5).clamp(0, 1), tensor)
    assert 0 < latent.masks.mean() < 1


def test_return_dict_false_gives_the_fields_in_order(paper: Gen3DFacePipeline) -> None:
    made = paper(**inputs())
    images, masks, views, head, latents = paper(**inputs(return_dict=False))
    assert torch.equal(images, made.images)
    assert torch.equal(masks, made.masks)
    assert len(views) == VIEWS
    assert head is made.head
    assert torch.equal(latents, made.latents)
    photos = [subject().portrait] * 2
    columns = paper(**inputs(image=photos, head=[subject().fit] * 2, return_dict=False))
    assert [len(column) for column in columns] == [2] * 5


def test_the_callback_sees_each_step_and_interrupts(paper: Gen3DFacePipeline) -> None:
    seen: list[tuple[int, int, set[str]]] = []
    kept = {}

    def callback(pipe: Gen3DFacePipeline, step: int, timestep: torch.Tensor, tensors: dict[str, Any]) -> dict[str, Any]:
        seen.append((step, int(timestep), set(tensors)))
        if step == 1:
            kept["latents"] = tensors["latents"]
            pipe._interrupt = True
        return tensors

    wanted = ["latents", "prediction"]
    made = paper(
        **inputs(num_inference_steps=5, callback_on_step_end=callback, callback_on_step_end_tensor_inputs=wanted)
    )
    assert [s[0] for s in seen] == [0, 1]
    assert seen[0][1] > seen[1][1]
    assert seen[0][2] == set(wanted)
    assert torch.equal(made.latents, kept["latents"][0])
    assert len(paper(**inputs())) == VIEWS  # the next call is not interrupted


def test_a_callback_replaces_the_latents(paper: Gen3DFacePipeline) -> None:
    made = paper(**inputs(callback_on_step_end=lambda pipe, i, t, tensors: {"latents": tensors["latents"] * 0}))
    assert torch.equal(made.latents, torch.zeros_like(made.latents))


def test_given_latents_are_where_it_starts(paper: Gen3DFacePipeline) -> None:
    drawn = torch.randn(1, VIEWS, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(paper(**inputs(latents=drawn)).latents, paper(**inputs()).latents)
    torch.testing.assert_close(paper(**inputs(latents=drawn[0])).latents, paper(**inputs()).latents)
    assert not torch.allclose(paper(**inputs(latents=noise())).latents, paper(**inputs()).latents)


def test_bf16_runs_and_stays_near(pipe: Gen3DFacePipeline) -> None:
    exact = pipe(**inputs()).images
    small = tiny_pipeline(SMALL if pipe.unet.config["gate_channels"] else PAPER)
    made = small.to(dtype=torch.bfloat16)(**inputs())
    assert made.images.dtype == torch.float32
    assert torch.isfinite(made.latents).all()
    assert (made.images - exact).abs().mean() < 0.05 < 2 * exact.std()


def test_a_tiny_autoencoder_serves_too() -> None:
    pipe = tiny_pipeline(PAPER)
    vae = AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8),
        decoder_block_out_channels=(8, 8, 8),
        num_encoder_blocks=(1, 1, 1),
        num_decoder_blocks=(1, 1, 1),
    )
    pipe.register_modules(vae=vae.eval())
    assert pipe(**inputs()).images.shape == (VIEWS, 3, 32, 32)


def test_sliced_attention_changes_nothing(paper: Gen3DFacePipeline) -> None:
    whole = paper(**inputs()).images
    try:
        paper.enable_attention_slicing()
        torch.testing.assert_close(paper(**inputs()).images, whole, atol=1e-5, rtol=1e-4)
    finally:
        paper.disable_attention_slicing()


def test_the_last_step_of_ddim_adds_no_noise(paper: Gen3DFacePipeline) -> None:
    """One step is the last step: eta, which adds noise to others, changes nothing but the direction's share."""
    one = [paper(**inputs(num_inference_steps=1, eta=1.0, latents=noise(), generator=g)).latents for g in _seeds()]
    two = [paper(**inputs(num_inference_steps=2, eta=1.0, latents=noise(), generator=g)).latents for g in _seeds()]
    assert torch.equal(*one)
    assert not torch.equal(*two)


def _seeds() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(k) for k in (0, 1)]
