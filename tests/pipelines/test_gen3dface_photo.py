"""From a real photo's pixels, with the head estimated on the way; and what needs a device."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut

from gen3dface.estimators import estimate
from gen3dface.models.grids import sample_views, volume_points
from gen3dface.photo import load_portrait
from gen3dface.pipelines.conditions import scene_geometry
from gen3dface.pipelines.prepared import Wanted, prepare
from gen3dface.pipelines.subjects import load_subjects
from tests.pipelines.needs import need_assets
from tests.pipelines.tiny_models import LEARNED, PAPER, SMALL, VIEWS, cameras, inputs, subject, tiny_pipeline


def test_the_head_is_estimated_when_none_is_given() -> None:
    need_assets()
    photo = np.ascontiguousarray(astronaut())
    pipe = tiny_pipeline(SMALL)
    arguments = {"cameras": cameras(), "num_inference_steps": 1, "output_type": "pt", "eta": 0.0}
    made = pipe(Image.fromarray(photo), generator=torch.Generator().manual_seed(0), **arguments)
    portrait = load_portrait(photo)
    fit = estimate(portrait)
    assert made.head is not None
    torch.testing.assert_close(made.head.identity, fit.identity)
    given = pipe(portrait, fit, generator=torch.Generator().manual_seed(0), **arguments)
    torch.testing.assert_close(given.images, made.images)


CONFIGS = pytest.mark.parametrize("config", [PAPER, SMALL, LEARNED], ids=["paper", "small", "learned decoder"])


@CONFIGS
def test_offload_hooks_change_nothing(config: dict) -> None:
    """The order of the hooks, on whatever device there is; the CPU shows the wiring, not the saving."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipe = tiny_pipeline(config)
    plain = pipe.to(device)(**inputs()).images
    pipe = tiny_pipeline(config)
    pipe.enable_model_cpu_offload(device=device)
    torch.testing.assert_close(pipe(**inputs()).images, plain, atol=1e-4, rtol=1e-3)
    assert pipe(**inputs()).images.shape == (VIEWS, 3, 32, 32)
    assert pipe.unet.device.type == pipe.vae.device.type == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@CONFIGS
def test_a_gpu_gives_what_the_cpu_gives(config: dict) -> None:
    pipe = tiny_pipeline(config)
    exact = pipe(**inputs())
    made = pipe.to("cuda")(**inputs())  # the generator stays on the CPU, so the noise is the same
    torch.testing.assert_close(made.images, exact.images, atol=5e-3, rtol=0)
    half = pipe.to(dtype=torch.bfloat16)(**inputs())
    assert (half.images - exact.images).abs().mean() < 0.05


def test_the_photo_is_unprojected_with_its_own_camera() -> None:
    """The volume reads the photo's matte: covered on the head's seen surface, empty beside the head."""
    head = subject(20.0)
    pipe = tiny_pipeline(SMALL)
    made = load_subjects(head.portrait, head.fit, head.model, 32, 0.4)
    geometry = scene_geometry(pipe.conditioner, [prepare(made[0], cameras(), Wanted())], 32).volume
    assert geometry.photo is not None
    matte = sample_views(made[0].crop.alpha[None, None], geometry.photo)[0, 0, 0]
    points = volume_points(8, 0.4)
    xy, _ = head.fit.camera.project(points)
    column, row = xy[0].floor().long().unbind(-1)
    inside = (column >= 4) & (row >= 4) & (column < head.portrait.width - 4) & (row < head.portrait.height - 4)
    truth = torch.from_numpy(head.portrait.matte)[row[inside], column[inside]]
    assert (matte[inside] - truth).abs().mean() < 0.06
    assert 0.1 < truth.mean() < 0.9
