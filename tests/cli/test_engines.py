"""Engines of the command: the projection, or a folder that holds a saved pipeline."""

from pathlib import Path

import pytest
import torch
import typer

from gen3dface.cli import app
from gen3dface.outputs.report import Settings
from gen3dface.outputs.stages import DEFAULT, PROJECTION, is_engine, stages_of
from gen3dface.pipelines.shipped import SHIPPED
from tests.pipelines.test_preview import TOLD
from tests.pipelines.tiny_models import subject, tiny_pipeline


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny"
    tiny_pipeline(TOLD, num_inference_steps=1, guidance_scale=1.0).save_pretrained(path)
    return path


def test_the_model_that_comes_along_is_the_default() -> None:
    assert DEFAULT in SHIPPED and is_engine(DEFAULT)
    options = {p.name: p.default for p in typer.main.get_command(app).commands["head"].params}
    assert options["engine"] == DEFAULT == Settings().engine


def test_what_counts_as_an_engine(folder: Path, tmp_path: Path) -> None:
    assert is_engine(PROJECTION) and is_engine(str(folder))
    assert not is_engine("magic") and not is_engine(str(tmp_path))


def test_a_pipelines_views_come_at_the_asked_size_and_follow_the_seed(folder: Path) -> None:
    head = subject()
    made = [stages_of(str(folder)).make_views(head.portrait, head.fit, 96, seed) for seed in (1, 1, 2)]
    plain = stages_of(PROJECTION).make_views(head.portrait, head.fit, 96, 0)
    assert made[0].tensor().shape == plain.tensor().shape == (16, 3, 96, 96)
    assert torch.equal(made[0].tensor(), made[1].tensor())
    assert not torch.equal(made[0].tensor(), made[2].tensor())
    assert (made[0].tensor() - plain.tensor()).abs().mean() > 0.01, "random weights do not make the projection's views"
    assert made[0].texture is not None, "the head can be textured where the views do not show it"
