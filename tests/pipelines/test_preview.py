"""The projection engine's views as conditions of the denoiser."""

from typing import Any

import pytest
import torch

from gen3dface.cameras import rig
from gen3dface.errors import ConfigError
from gen3dface.models.photo_projection import PhotoProjection
from gen3dface.pipelines import project_views
from gen3dface.pipelines.preview import PREVIEW_PLANES, preview
from gen3dface.pipelines.scene import projection
from gen3dface.pipelines.subjects import Subject, load_subjects
from tests.pipelines.tiny_models import SMALL, inputs, subject, tiny_pipeline

SIZE = 64
TOLD: dict[str, Any] = {
    **SMALL,
    "settings": {**SMALL["settings"], "view_condition": "preview"},
    "unet": {**SMALL["unet"], "condition_channels": PREVIEW_PLANES * 16},
}


def _subject() -> Subject:
    head = subject()
    return load_subjects(head.portrait, head.fit, head.model, SIZE, 0.4)[0]


def test_it_shows_what_the_projection_engine_shows() -> None:
    head, views = subject(), rig("head360", SIZE)
    shown = preview(_subject(), views)
    engine = project_views(head.portrait, head.fit, views, model=head.model)
    torch.testing.assert_close(shown.coverage, engine.masks)
    assert (shown.colour - engine.images).abs().mean() < 0.01  # its texture is finer


def test_trust_and_geometry_agree_with_the_projected_photo() -> None:
    views = rig("head360", SIZE)[[0, 2, 8]]
    shown = preview(_subject(), views)
    photo: PhotoProjection = projection(_subject(), views, (0.0,))
    torch.testing.assert_close(shown.position, photo.position)
    torch.testing.assert_close(shown.normal, photo.normal)
    assert (shown.trust()[shown.coverage < 0.99] == 0).all()
    sure = (photo.trust() > 0.8) & (shown.trust() > 0)
    assert sure[0].sum() > 100
    assert (shown.trust() - photo.trust())[sure].abs().median() < 0.05
    assert shown.trust()[2].mean() < 0.05, "the photo does not show the back"


def test_conditions_are_bounded_and_empty_off_the_head() -> None:
    planes = preview(_subject(), rig("head360", SIZE)[[0, 4]]).conditions()
    assert planes.shape == (2, PREVIEW_PLANES, SIZE, SIZE) and planes.abs().max() <= 1 + 1e-5
    corner = torch.tensor([1.0, 1, 1, -1, -1, 0, 0, 0, 0, 0, 0])
    torch.testing.assert_close(planes[0, :, 0, 0], corner)


def test_a_model_that_is_told_the_preview_runs() -> None:
    views = tiny_pipeline(TOLD)(**inputs())
    assert views.images.shape[0] == len(inputs()["cameras"]) and torch.isfinite(views.images).all()


def test_a_model_of_other_conditions_is_refused() -> None:
    with pytest.raises(ConfigError, match="view condition preview"):
        tiny_pipeline({**SMALL, "settings": TOLD["settings"]})
    with pytest.raises(ConfigError, match="choose photo or preview"):
        tiny_pipeline(SMALL, view_condition="sketch")


def test_a_model_says_how_it_is_called() -> None:
    pipe = tiny_pipeline(SMALL, num_inference_steps=3, guidance_scale=1.0)
    steps: list[int] = []

    def count(_pipe: Any, step: int, _t: Any, _tensors: Any) -> dict[str, Any]:
        steps.append(step)
        return {}

    arguments = inputs(callback_on_step_end=count)
    del arguments["num_inference_steps"]
    unsaid = pipe(**arguments)
    assert steps == [0, 1, 2]
    said = pipe(**inputs(num_inference_steps=3, guidance_scale=1.0))
    assert torch.equal(unsaid.images, said.images)
