"""The loss of a batch against one put together by hand, and where its gradients go."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gen3dface.errors import ConfigError, DataError
from gen3dface.evaluation import LPIPS
from gen3dface.pipelines import Gen3DFacePipeline, codec
from gen3dface.pipelines.conditions import encode_scene, networks_of
from gen3dface.pipelines.steps import denoised, scene_volumes
from gen3dface.training.config import ObjectiveConfig
from gen3dface.training.denoiser import TrainingDenoiser
from gen3dface.training.draws import KEPT, Item
from gen3dface.training.identity import IdentityLoss
from gen3dface.training.latents import LatentFolder, keeps_latents
from gen3dface.training.perceptual import PerceptualLoss
from gen3dface.training.prepared import PreparedFolder, chosen_views
from gen3dface.training.start import preparation_for
from tests.data_synth.samples import random_sample
from tests.pipelines.tiny_models import LEARNED, PAPER, SMALL, tiny_pipeline


def _items(pipe: Gen3DFacePipeline, kept: tuple[bool, bool, bool] = KEPT["none"], views: int = 2) -> list[Item]:
    preparation = preparation_for(pipe)
    channels = pipe.unet.config["latent_channels"]
    return [
        Item(
            chosen_views(preparation(random_sample("x", seed, views=views)), range(views)),
            torch.randn(views, channels, 8, 8, generator=torch.Generator().manual_seed(seed)),
            timestep,
            kept,
        )
        for seed, timestep in ((0, 120), (1, 870))
    ]


@pytest.mark.parametrize(("model", "prediction"), [(SMALL, "sample"), (PAPER, "epsilon"), (PAPER, "v_prediction")])
def test_the_loss_is_its_formula(model: dict[str, Any], prediction: str) -> None:
    pipe = tiny_pipeline({**model, "scheduler": {**model["scheduler"], "prediction_type": prediction}})
    items = _items(pipe)
    denoiser = TrainingDenoiser(pipe, ObjectiveConfig(weighting="min_snr", gamma=2.0)).eval()
    total = 0.0
    with torch.no_grad():
        for item in items:
            head, views = item.head.unpack("cpu")
            clean = codec.encode(pipe.vae, views[:, :3], views[:, 3:])[None]
            t = torch.tensor([item.timestep])
            a = pipe.scheduler.alphas_cumprod[t]
            noisy = pipe.scheduler.add_noise(clean, item.noise[None], t)
            scene = encode_scene(networks_of(pipe), [head])
            said = denoised(pipe, noisy, t, scene, scene_volumes(pipe, noisy, t, scene))
            wanted = {
                "sample": clean,
                "epsilon": item.noise[None],
                "v_prediction": pipe.scheduler.get_velocity(clean, item.noise[None], t),
            }[prediction]
            snr = a / (1 - a)
            divisor = {"sample": torch.ones(1), "epsilon": snr, "v_prediction": snr + 1}[prediction]
            total += (snr.clamp(max=2.0) / divisor * (said - wanted).square().mean()).item() / 2
        # batch norm in evaluation mode: a batch is its heads one by one
        assert denoiser(items).item() == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("model", [SMALL, PAPER], ids=["small", "paper"])
def test_mixed_precision_leaves_cameras_and_grids_alone(model: dict[str, Any]) -> None:
    """bf16 has no matrix inverse, and its azimuths are a degree apart."""
    pipe = tiny_pipeline(model)
    items = _items(pipe)
    heads = [item.head.unpack("cpu")[0] for item in items]
    exact = encode_scene(networks_of(pipe), heads)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = encode_scene(networks_of(pipe), heads)
        loss = TrainingDenoiser(pipe, ObjectiveConfig()).eval()(items)
    assert exact.geometry is not None and mixed.geometry is not None
    assert mixed.geometry.frustum.equal(exact.geometry.frustum)
    assert mixed.view.equal(exact.view)
    assert loss.item() == pytest.approx(TrainingDenoiser(pipe, ObjectiveConfig()).eval()(items).item(), rel=0.05)


def test_losses_look_at_what_the_network_said_and_not_at_what_the_decoder_made_of_it() -> None:
    """The same networks with a learned decoder and without: the same loss."""
    pipe, learned = tiny_pipeline(SMALL), tiny_pipeline(LEARNED)
    decoded = learned.vae.decode(torch.zeros(1, 64, 8, 8)).sample
    assert decoded.abs().max() > 0.01, "this decoder does something"
    for name in ("unet", "conditioner", "image_encoder"):
        getattr(learned, name).load_state_dict(getattr(pipe, name).state_dict())
    found = [TrainingDenoiser(p, ObjectiveConfig(pixels=0.5)).eval()(_items(p)).item() for p in (pipe, learned)]
    assert found[1] == pytest.approx(found[0])


def test_the_perceptual_term_is_the_distance_of_the_decoded_views() -> None:
    """Added with its weight; its own networks neither learn nor are saved."""
    pipe = tiny_pipeline(SMALL)
    items = _items(pipe)
    plain = TrainingDenoiser(pipe, ObjectiveConfig()).eval()
    denoiser = TrainingDenoiser(pipe, ObjectiveConfig(perceptual=0.5)).eval()
    with torch.no_grad():
        said, clean, _ = plain.predict(items)
        made, true = ((pipe.vae.decode(z.flatten(0, 1)).sample[:, :3] / 2 + 0.5).clamp(0, 1) for z in (said, clean))
        middles = [torch.nn.functional.interpolate(p[..., 8:24, 8:24], (32, 32), mode="bilinear") for p in (made, true)]
        pairs = [(made, true), middles]
        top, left = divmod(sum(item.timestep for item in items) % 16, 4)
        shifted = [[torch.nn.functional.pad(p, (left, 0, top, 0), "replicate") for p in pair] for pair in pairs]
        distance = sum(LPIPS()(*pair).mean().item() for pair in shifted) / 2
        squared = plain(items).item()
    loss = denoiser(items)
    assert distance > 0.01
    assert loss.item() == pytest.approx(squared + 0.5 * distance, rel=1e-4)
    assert denoiser.state_dict().keys() == plain.state_dict().keys()
    (gradient,) = torch.autograd.grad(0.5 * denoiser(items) - 0.5 * plain(items), [pipe.unet.unet.conv_out.weight])
    assert gradient.any()


def test_a_weave_that_lpips_overlooks_shows_from_other_starts() -> None:
    """Lines at the last of every four pixels, which some starts of AlexNet's first layer weigh more than others."""
    true = torch.rand(1, 1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4
    woven = true.clone()
    woven[..., 3::4, 3::4] += 0.15
    loss = PerceptualLoss()
    found = torch.tensor([loss(woven, true, start).item() for start in range(16)])
    assert found.max() > 1.2 * found.min()
    assert loss(woven, true, 21).item() == pytest.approx(found[5].item())


def test_the_pixel_term_is_the_squared_error_of_the_views_over_white() -> None:
    """With straight colours in the latents: what is not covered counts by its coverage alone."""
    pipe = tiny_pipeline(SMALL | {"vae": SMALL["vae"] | {"straight": True}})
    items = _items(pipe)
    plain = TrainingDenoiser(pipe, ObjectiveConfig()).eval()
    with torch.no_grad():
        views = [torch.nn.functional.pixel_shuffle(z.flatten(0, 1), 4) / 2 + 0.5 for z in plain.predict(items)[:2]]
        made, true = (v[:, 3:].clamp(0, 1) * (v[:, :3] - 1) + 1 for v in views)
        apart = (made.clamp(0, 1) - true.clamp(0, 1)).square().mean().item()
        found = TrainingDenoiser(pipe, ObjectiveConfig(pixels=0.5)).eval()(items).item()
    assert apart > 0.01
    assert found == pytest.approx(plain(items).item() + 0.5 * 4 * apart, rel=1e-4)


@pytest.mark.parametrize("name", ["pixels", "perceptual", "identity"])
def test_losses_of_pictures_want_a_model_that_says_the_picture(name: str) -> None:
    with pytest.raises(ConfigError, match=f"objective.{name} need"):
        TrainingDenoiser(tiny_pipeline(PAPER), ObjectiveConfig(**{name: 0.5}))


def test_the_identity_term_is_that_of_the_heads_whose_photo_is_shown() -> None:
    """The first head's photo is dropped; the term is the second's alone, with its weight."""
    pipe = tiny_pipeline(SMALL)
    items = [replace(item, kept=kept) for item, kept in zip(_items(pipe), (KEPT["all"], KEPT["none"]), strict=True)]
    plain = TrainingDenoiser(pipe, ObjectiveConfig()).eval()
    denoiser = TrainingDenoiser(pipe, ObjectiveConfig(identity=0.25)).eval()
    with torch.no_grad():
        said = plain.predict(items)[0][1]
        views = (pipe.vae.decode(said).sample[:, :3] / 2 + 0.5).clamp(0, 1)
        apart = IdentityLoss()(views[None], [items[1].head.unpack("cpu")[0]]).item()
        assert apart > 0.01
        assert denoiser(items).item() == pytest.approx(plain(items).item() + 0.25 * apart, rel=1e-4)


@pytest.mark.parametrize("model", [SMALL, PAPER], ids=["small", "paper"])
def test_gradients_reach_every_trained_network_and_no_other(model: dict[str, Any]) -> None:
    pipe = tiny_pipeline(model)
    denoiser = TrainingDenoiser(pipe, ObjectiveConfig()).train()
    denoiser(_items(pipe)).backward()
    trained = {"unet", "conditioner"} | ({"image_encoder"} if model is SMALL else set())
    assert {name.split(".")[0] for name, _ in denoiser.named_parameters()} == trained
    silent = [name for name, p in denoiser.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent
    for other in {"vae", "image_encoder"} - trained:
        assert all(not p.requires_grad and p.grad is None for p in getattr(pipe, other).parameters())


@torch.no_grad()
@pytest.mark.parametrize("model", [SMALL, PAPER], ids=["small", "paper"])
def test_all_dropped_is_the_unconditional_half_of_guidance(model: dict[str, Any]) -> None:
    pipe = tiny_pipeline(model)
    denoiser = TrainingDenoiser(pipe, ObjectiveConfig()).eval()
    items = _items(pipe, KEPT["all"])[:1]
    said = denoiser.predict(items)[0]
    head, views = items[0].head.unpack("cpu")
    clean = codec.encode(pipe.vae, views[:, :3], views[:, 3:])[None]
    t = torch.tensor(items[0].timestep)
    noisy = pipe.scheduler.add_noise(clean, items[0].noise[None], t[None])
    guided = encode_scene(networks_of(pipe), [head]).guided()
    volumes = scene_volumes(pipe, noisy, t, encode_scene(networks_of(pipe), [head]))
    halves = denoised(pipe, torch.cat([noisy, noisy]), t, guided, volumes).chunk(2)
    torch.testing.assert_close(said, halves[1], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(halves[0], halves[1], atol=1e-3)


@torch.no_grad()
def test_each_kind_of_dropout_leaves_out_something_else() -> None:
    pipe = tiny_pipeline(SMALL)
    denoiser = TrainingDenoiser(pipe, ObjectiveConfig()).eval()
    item = _items(pipe)[0]
    said = {kind: denoiser.predict([replace(item, kept=kept)])[0] for kind, kept in KEPT.items()}
    names = list(said)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            assert not torch.allclose(said[one], said[other], atol=1e-4), (one, other)


def test_a_batch_of_unequal_heads_is_refused() -> None:
    pipe = tiny_pipeline(PAPER)
    items = [_items(pipe)[0], _items(pipe, views=3)[1]]
    with pytest.raises(ConfigError, match=r"data\.views"):
        TrainingDenoiser(pipe, ObjectiveConfig())(items)


def test_frozen_networks_stay_as_they_are() -> None:
    pipe = tiny_pipeline(SMALL)
    denoiser = TrainingDenoiser(pipe, ObjectiveConfig(), ["unet", "image_encoder"], "frozen").train()
    assert {name.split(".")[0] for name, _ in denoiser.named_parameters()} == {"conditioner"}
    before = {name: b.clone() for name, b in denoiser.named_buffers()}
    denoiser(_items(pipe)).backward()
    assert all(torch.equal(before[name], b) for name, b in denoiser.named_buffers())
    with pytest.raises(ConfigError, match="frozen"):
        TrainingDenoiser(pipe, ObjectiveConfig(), ["unet", "conditioner", "image_encoder"])


@torch.no_grad()
def test_kept_latents_are_those_of_the_autoencoder(tmp_path: Path) -> None:
    """To half precision; of the chosen views; made anew for another autoencoder."""
    pipe, other = tiny_pipeline(PAPER), tiny_pipeline(PAPER, seed=1)
    sample = random_sample("x", 0, views=3)
    folder = PreparedFolder(tmp_path)
    folder.put("x", preparation_for(pipe)(sample))
    latents = LatentFolder(folder, pipe.vae)
    latents.fill(["x"], networks_of(pipe))
    views = sample.views.float() / 255
    truth = codec.encode(pipe.vae, views[:, :3], views[:, 3:])
    torch.testing.assert_close(latents.get("x", [2, 0]).float(), truth[[2, 0]], rtol=1e-3, atol=1e-3)
    assert latents.folder != LatentFolder(folder, other.vae).folder
    item = _items(pipe)[0]
    denoiser = TrainingDenoiser(pipe, ObjectiveConfig()).eval()
    kept = replace(item, head=replace(item.head, latents=torch.ones(2, 4, 8, 8, dtype=torch.float16)))
    assert denoiser([kept]).item() != denoiser([item]).item()
    kept = replace(item, head=replace(item.head, latents=_encoded(pipe, item).half()))
    assert denoiser([kept]).item() == pytest.approx(denoiser([item]).item(), rel=1e-3)
    assert keeps_latents(networks_of(pipe)) and not keeps_latents(networks_of(tiny_pipeline(SMALL)))
    assert not keeps_latents(networks_of(tiny_pipeline(LEARNED)))
    assert not keeps_latents(networks_of(tiny_pipeline(PAPER, posterior="sample")))
    path = latents.path("x")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match="damaged"):
        latents.get("x", [0])


def _encoded(pipe: Gen3DFacePipeline, item: Item) -> Tensor:
    views = item.head.targets.float() / 255
    return codec.encode(pipe.vae, views[:, :3], views[:, 3:])


def test_nothing_is_learned_from_what_is_not_known() -> None:
    """Neither a change of the unknown target's prediction nor its gradient reaches the loss."""
    pipe = tiny_pipeline(SMALL)
    denoiser = TrainingDenoiser(pipe, ObjectiveConfig(pixels=1.0)).eval()
    item = _items(pipe)[0]
    nothing = torch.zeros_like(item.head.targets[:, :1])
    assert denoiser([item]).item() > 0
    hidden = replace(item, head=replace(item.head, known=nothing))
    assert denoiser([hidden]).item() == 0
    upper = nothing.clone()
    upper[:, :, : upper.shape[2] // 2] = 255
    predicted, wanted, _ = denoiser.predict([replace(item, head=replace(item.head, known=upper))])
    half = predicted.shape[-2] // 2
    assert torch.equal(predicted[..., half:, :], wanted[..., half:, :])
    free, _, _ = denoiser.predict([item])
    assert torch.equal(predicted[..., :half, :], free[..., :half, :])
    upper[0, 0, 0, 0] = 254  # one pixel in doubt: its latent is
    predicted, wanted, _ = denoiser.predict([replace(item, head=replace(item.head, known=upper))])
    assert torch.equal(predicted[0, 0, :, 0, 0], wanted[0, 0, :, 0, 0])
    assert torch.equal(predicted[0, 0, :, 0, 1], free[0, 0, :, 0, 1])
