"""Photos are cropped and prepared exactly; what cannot work is refused with a message that helps."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gen3dface.cameras import Cameras, orbit, rig
from gen3dface.errors import CameraError, ConfigError, Gen3DFaceError, HeadError
from gen3dface.pipelines import Gen3DFacePipeline
from gen3dface.pipelines.checks import check_cameras
from gen3dface.pipelines.codec import masks_over_white
from gen3dface.pipelines.image_tokens import clip_pixels
from gen3dface.pipelines.photo_crop import crop_photo
from gen3dface.pipelines.scene import vertex_features
from gen3dface.pipelines.subjects import check_head, load_subjects
from gen3dface.render import render
from tests.pipelines.tiny_models import PAPER, SMALL, VIEWS, cameras, inputs, noise, subject, tiny_pipeline


@pytest.fixture(scope="module")
def pipe() -> Gen3DFacePipeline:
    return tiny_pipeline(PAPER)


def _merged(config: dict[str, Any], section: str, **values: Any) -> dict[str, Any]:
    return config | {section: {**config[section], **values}}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_inference_steps": 0}, ConfigError, "num_inference_steps is 0"),
        ({"num_inference_steps": 2.5}, ConfigError, "whole number"),
        ({"guidance_scale": -0.1}, ConfigError, "guidance_scale is -0.1"),
        ({"guidance_scale": float("nan")}, ConfigError, "guidance_scale"),
        ({"eta": 1.5}, ConfigError, "eta is 1.5"),
        ({"output_type": "jpeg"}, ConfigError, "pil, pt, np, latent"),
        ({"guidance_interval": (0.8, 0.2)}, ConfigError, "guidance_interval"),
        ({"callback_on_step_end_tensor_inputs": ["noise"]}, ConfigError, "noise"),
        ({"latents": noise(views=2)}, ConfigError, r"expected \(1, 3, 4, 8, 8\)"),
        ({"latents": noise() * torch.nan}, ConfigError, "not finite"),
        ({"generator": [torch.Generator()] * 2}, ConfigError, "2 generators for 1 photos"),
        ({"cameras": "round"}, CameraError, "round"),
        ({"image": []}, ConfigError, "0 photos"),
        ({"image": [subject().portrait] * 2}, ConfigError, "one head for each photo"),
    ],
)
def test_bad_arguments_are_refused(
    pipe: Gen3DFacePipeline, arguments: dict[str, Any], error: type[Gen3DFaceError], message: str
) -> None:
    with pytest.raises(error, match=message):
        pipe(**inputs(**arguments))


def test_heads_that_cannot_be_are_refused(pipe: Gen3DFacePipeline) -> None:
    head = subject()
    large = replace(head.fit, offsets=1.5 * head.fit.mesh(head.model).vertices)
    with pytest.raises(HeadError, match="metres"):
        pipe(**inputs(head=large))
    vertices = head.fit.mesh(head.model).vertices
    with pytest.raises(HeadError, match="not finite"):
        check_head(vertices * torch.nan)
    with pytest.raises(HeadError, match="origin"):
        check_head(vertices + 0.3)
    other = replace(head.fit, camera=head.fit.camera.resized(100, 100))
    with pytest.raises(ConfigError, match="100 x 100"):
        pipe(**inputs(head=other))


def test_a_head_of_nan_is_refused(pipe: Gen3DFacePipeline) -> None:
    head = subject()
    broken = replace(head.model, template=head.model.template * torch.nan)
    with pytest.raises(HeadError, match="not finite"):
        pipe(**inputs(head_model=broken))


def test_bad_cameras_are_refused() -> None:
    views = cameras()
    with pytest.raises(CameraError, match="square"):
        check_cameras(views.resized(32, 16), 32, None, None)
    with pytest.raises(CameraError, match="finite"):
        check_cameras(Cameras(views.world_to_camera * torch.nan, views.intrinsics, 32, 32), 32, None, None)
    with pytest.raises(ConfigError, match="exactly 16 views"):
        check_cameras(views, 32, None, 16)


def test_cameras_outside_the_trained_range_are_named(pipe: Gen3DFacePipeline, caplog: pytest.LogCaptureFixture) -> None:
    steep = orbit(torch.zeros(3), torch.tensor([0.0, 60.0, -70.0]), radius=1.8, focal=4.5, size=32)
    with caplog.at_level(logging.WARNING, "gen3dface"):
        pipe(**inputs(num_inference_steps=1))
        assert not caplog.records
        pipe(**inputs(cameras=steep, num_inference_steps=1))
    assert "[1, 2]" in caplog.text
    assert "elevation" in caplog.text


def test_views_are_made_at_the_models_resolution(pipe: Gen3DFacePipeline) -> None:
    views = check_cameras(rig("head360", 512), 32, None, None)
    assert (views.height, views.width) == (32, 32)
    torch.testing.assert_close(views.intrinsics, rig("head360", 32).intrinsics)
    made = pipe(**inputs(cameras=cameras().resized(64, 64))).latents
    torch.testing.assert_close(made, pipe(**inputs()).latents)


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (_merged(PAPER, "conditioner", frustum_channels=[16, 24]), {}, "channels"),
        (_merged(SMALL, "unet", condition_channels=240), {}, "condition_channels is 240"),
        (PAPER, {"vertex_features": ["normal"]}, "vertex_features is 3"),
        (PAPER, {"vertex_features": ["smell"]}, "smell"),
        (_merged(PAPER, "unet", input_view="none"), {"frustum_photo": True}, "frustum_photo"),
        (_merged(PAPER, "image_encoder", projection_dim=20), {}, "projection_dim is 20"),
        (_merged(SMALL, "image_encoder", feature_channels=6), {}, "feature_channels is 6"),
        (_merged(PAPER, "settings", image_size=36, latent_size=9), {}, "multiple of 8"),
        (PAPER, {"trained_range": {"height": [0, 1]}}, "height"),
    ],
)
def test_mismatched_components_are_named(config: dict[str, Any], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pipe = tiny_pipeline(config, **{k: v for k, v in settings.items() if k != "frustum_photo"})
        if "frustum_photo" in settings:
            pipe.register_to_config(frustum_photo=True)
        pipe(**inputs())


def test_the_gate_needs_a_sample_predicting_scheduler() -> None:
    pipe = tiny_pipeline(SMALL)
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, prediction_type="epsilon")
    with pytest.raises(ConfigError, match="prediction_type"):
        pipe(**inputs())


def test_the_crop_shows_what_its_camera_says() -> None:
    """A crop equals a picture rendered with the crop's camera."""
    head = subject(20.0)
    crop = crop_photo(head.portrait, head.fit.camera, 128)
    picture, mask = render(head.surface, head.texture, crop.camera, supersample=4)
    assert (crop.camera.height, crop.camera.width) == (128, 128)
    inside = mask[0, 0] > 0.99
    assert (crop.image - picture[0])[:, inside].abs().mean() < 0.02
    assert (crop.alpha - mask[0]).abs().mean() < 0.01
    assert (1 - crop.image[:, mask[0, 0] == 0]).abs().mean() < 0.003
    xy, _ = crop.camera.project(torch.zeros(1, 3))
    assert (xy - 64).abs().max() < 1


def test_a_crop_that_leaves_the_photo_is_white() -> None:
    head = subject(20.0)
    crop = crop_photo(head.portrait, head.fit.camera, 64, side=2.0)
    assert crop.image[:, :5].min() > 0.999
    assert crop.alpha[:, :5].max() < 1e-3
    assert crop.alpha.sum() > 0
    with pytest.raises(CameraError, match="in front"):
        crop_photo(head.portrait, _behind(head.fit.camera), 64)
    with pytest.raises(CameraError, match="px wide"):
        crop_photo(head.portrait, head.fit.camera.resized(8, 8), 64)


def _behind(camera: Cameras) -> Cameras:
    turned = camera.world_to_camera.clone()
    turned[:, 2, 3] *= -1
    return Cameras(turned, camera.intrinsics, camera.height, camera.width)


def test_clip_preprocessing_is_exact() -> None:
    module = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    arrays = [np.asarray((i * 255).round().to(torch.uint8).permute(1, 2, 0)) for i in images]
    theirs = module.CLIPImageProcessorPil()(arrays, return_tensors="pt").pixel_values
    torch.testing.assert_close(clip_pixels(images), theirs, atol=1e-6, rtol=0)


def test_masks_reach_beyond_the_mesh_and_fill_it() -> None:
    images, mesh = torch.ones(1, 3, 4, 4), torch.zeros(1, 1, 4, 4)
    images[0, :, 0, 0] = 0.3  # hair beyond the mesh
    images[0, :, 0, 1] = 0.96  # its soft edge
    mesh[0, 0, 2, 2] = 1  # a white tooth
    masks = masks_over_white(images, mesh)[0, 0]
    assert masks[0, 0] == 1
    assert 0.4 < masks[0, 1] < 0.6
    assert masks[2, 2] == 1
    assert masks[3, 3] == 0


def test_vertex_features_are_what_they_say() -> None:
    head = subject(20.0)
    made = load_subjects(head.portrait, head.fit, head.model, 64, 0.4)[0]
    features = vertex_features(["position", "normal", "colour", "visibility"], made)
    mesh = head.fit.mesh(head.model)
    torch.testing.assert_close(features[:, :3] * 0.2, mesh.vertices)
    torch.testing.assert_close(features[:, 3:6], mesh.normals())
    unseen = features[:, 9] == 0
    assert (features[unseen, 6:9] == 0).all()
    back = mesh.vertices[:, 2] < -0.08
    assert unseen[back].all()
    assert (features[head.model.regions["face"], 9] > 0.5).float().mean() > 0.5


def test_a_conditioner_that_knows_its_vertices() -> None:
    volume = PAPER["conditioner"]["volume_config"] | {"vertex_channels": 14}
    names = ["position", "normal", "colour", "visibility", "part"]
    pipe = tiny_pipeline(_merged(PAPER, "conditioner", volume_config=volume), vertex_features=names)
    first = pipe(**inputs()).latents
    dark = replace(subject().portrait, image=(subject().portrait.image * 0.5).astype(np.uint8))
    assert first.shape == (VIEWS, 4, 8, 8)
    assert not torch.allclose(pipe(**inputs(image=dark)).latents, first, atol=1e-4)
