"""What the views depend on: order carries no meaning, every condition does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gen3dface.pipelines import Gen3DFacePipeline, conditions, gen3dface_pipeline, steps
from gen3dface.pipelines.scene import Scene
from tests.pipelines.tiny_models import PAPER, SMALL, cameras, inputs, noise, subject, tiny_pipeline

_ORDER = [2, 0, 1]


@pytest.fixture(scope="module", params=[PAPER, SMALL], ids=["paper", "small"])
def pipe(request: pytest.FixtureRequest) -> Gen3DFacePipeline:
    return tiny_pipeline(request.param)


def _noise(pipe: Gen3DFacePipeline, photos: int = 1) -> Tensor:
    return noise(photos, channels=pipe.unet.config["latent_channels"])


def _close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


def test_every_weight_is_random(pipe: Gen3DFacePipeline) -> None:
    for name in ("unet", "conditioner", "image_encoder"):
        weights = [p for p in getattr(pipe, name).parameters() if p.ndim > 1]
        assert weights
        assert all((w != 0).float().mean() > 0.99 for w in weights)


def test_permuting_the_views_permutes_the_output(pipe: Gen3DFacePipeline) -> None:
    start = _noise(pipe)
    plain = pipe(**inputs(latents=start)).latents
    turned = pipe(**inputs(cameras=cameras()[_ORDER], latents=start[:, _ORDER])).latents
    _close(turned, plain[_ORDER])
    assert not torch.allclose(turned, plain, atol=1e-2)


def test_the_views_are_made_together(pipe: Gen3DFacePipeline) -> None:
    """Another noise in the last view changes the first: there is joint attention, or a common volume."""
    start, other = _noise(pipe), _noise(pipe)
    other[:, -1] *= -1
    first, second = (pipe(**inputs(latents=z)).latents[0] for z in (start, other))
    assert (first - second).abs().mean() > 1e-4


def test_swapping_the_photos_swaps_the_output(pipe: Gen3DFacePipeline) -> None:
    heads = [subject(20.0), subject(-30.0)]
    start = _noise(pipe, 2)

    def call(order: list[int]) -> list[Tensor]:
        chosen = [heads[k] for k in order]
        photos = {"image": [h.portrait for h in chosen], "head": [h.fit for h in chosen]}
        return [made.latents for made in pipe(**inputs(**photos, latents=start[order]))]

    plain, swapped = call([0, 1]), call([1, 0])
    _close(plain[0], swapped[1])
    _close(plain[1], swapped[0])
    assert not torch.allclose(plain[0], plain[1], atol=1e-2)


def _scene_of(pipe: Gen3DFacePipeline, monkeypatch: pytest.MonkeyPatch) -> Scene:
    kept: list[Scene] = []
    _watch(monkeypatch, kept.append)
    pipe(**inputs(num_inference_steps=1, latents=_noise(pipe)))
    monkeypatch.undo()
    return kept[0]


def _watch(monkeypatch: pytest.MonkeyPatch, see: Callable[[Scene], Any]) -> None:
    def build(*args: Any) -> Scene:
        scene = conditions.build_scene(*args)
        changed = see(scene)
        return changed if isinstance(changed, Scene) else scene

    monkeypatch.setattr(gen3dface_pipeline, "build_scene", build)


@torch.no_grad()
def test_guidance_is_its_formula(pipe: Gen3DFacePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """u + s (c - u), c and u each computed alone, the second with every condition zeroed by hand."""
    scene = _scene_of(pipe, monkeypatch)
    sample, t = _noise(pipe), torch.tensor(401)
    volumes = pipe.conditioner(sample, t[None], scene.view, scene.geometry, None, scene.photo_volume)
    maps = scene.conditions
    more = {"copy": scene.copy, "return_dict": False}
    given = pipe.unet(sample, t, scene.tokens, volumes, scene.input_latent, maps, **more)[0]
    zeros = [torch.zeros_like(v) for v in volumes]
    empty = None if maps is None else torch.zeros_like(maps)
    bare = pipe.unet(sample, t, 0 * scene.tokens, zeros, 0 * scene.input_latent, empty, **more)[0]
    assert (given - bare).abs().mean() > 1e-3
    for scale in (0.0, 1.0, 2.0, 3.5):
        guided = steps.predict(pipe, sample, t, scene, scene.guided(), scale)
        _close(guided, bare + scale * (given - bare))


def test_guidance_one_is_the_conditional_branch(pipe: Gen3DFacePipeline) -> None:
    """Leaving the unconditional half out (scale 1) equals computing it and giving it no weight (1 + a hair)."""
    start = _noise(pipe)
    plain = pipe(**inputs(latents=start, guidance_scale=1.0)).latents
    both = pipe(**inputs(latents=start, guidance_scale=1.0 + 1e-6)).latents
    _close(plain, both)
    assert not torch.allclose(plain, pipe(**inputs(latents=start, guidance_scale=2.0)).latents, atol=1e-3)


def test_guidance_can_be_kept_to_part_of_the_steps(pipe: Gen3DFacePipeline) -> None:
    start = _noise(pipe)
    never, always, half = (
        pipe(**inputs(latents=start, guidance_scale=3.0, guidance_interval=i)).latents
        for i in ((0.0, 0.0), (0.0, 1.0), (0.0, 0.5))
    )
    _close(never, pipe(**inputs(latents=start, guidance_scale=1.0)).latents)
    assert not torch.allclose(half, never, atol=1e-3)
    assert not torch.allclose(half, always, atol=1e-3)


_COMMON = ("tokens", "input_latent", "view", "geometry")
_CONDITIONS = [("paper", name) for name in _COMMON]
_CONDITIONS += [("small", name) for name in (*_COMMON, "photo_volume", "conditions", "copy")]


@pytest.mark.parametrize(("model", "name"), _CONDITIONS)
def test_each_condition_matters(model: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tiny_pipeline({"paper": PAPER, "small": SMALL}[model])
    arguments = inputs(latents=_noise(pipe), guidance_scale=1.0)
    plain = pipe(**arguments).latents

    def without(scene: Scene) -> Scene:
        value = getattr(scene, name)
        if name == "geometry":
            return replace(scene, geometry=replace(value, frustum=value.frustum + 3))  # outside the volume
        return replace(scene, **{name: None if name == "copy" else torch.zeros_like(value)})

    _watch(monkeypatch, without)
    assert (pipe(**arguments).latents - plain).abs().mean() > 1e-5


def test_the_mesh_matters(pipe: Gen3DFacePipeline) -> None:
    fit = subject().fit
    other = replace(fit, identity=-fit.identity)
    first, second = (pipe(**inputs(latents=_noise(pipe), head=f)).latents for f in (fit, other))
    assert (first - second).abs().mean() > 1e-5


def test_geometry_is_computed_once_a_call(pipe: Gen3DFacePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    original = type(pipe.conditioner).geometry
    monkeypatch.setattr(type(pipe.conditioner), "geometry", lambda *a, **k: (counted.append(1), original(*a, **k))[1])
    pipe(**inputs(num_inference_steps=4))
    assert len(counted) == 1
