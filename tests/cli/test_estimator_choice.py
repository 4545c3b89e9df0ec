"""Heads of another estimator and model, all the way: pipeline, stages, exported file, command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from typer.testing import CliRunner

from gen3dface import cli
from gen3dface.errors import CheckpointError, ConfigError, HeadModelError
from gen3dface.estimators import ESTIMATORS, load_estimator
from gen3dface.estimators.registry import Estimator
from gen3dface.heads import HeadModel
from gen3dface.heads.store import save_head_model
from gen3dface.outputs.stages import PROJECTION, stages_of
from gen3dface.photo import Portrait
from gen3dface.pipelines.subjects import load_subjects
from tests.estimators.fake_flame import Sight, fake_flame, portrait_of, sight
from tests.estimators.test_estimator_checkpoints import deca as deca_checkpoint
from tests.estimators.test_network_estimators import deca
from tests.pipelines.tiny_models import PAPER, VIEWS, cameras, tiny_pipeline


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return fake_flame()


@pytest.fixture(scope="module")
def seen(model: HeadModel) -> Sight:
    return sight(model, 100, 50)


@pytest.fixture(scope="module")
def portrait(seen: Sight) -> Portrait:
    """Skin all over the picture, so that there is a colour to project."""
    plain = portrait_of(seen)
    return replace(plain, image=np.full_like(plain.image, (190, 140, 120)), parts=np.full_like(plain.parts, 3))


@pytest.fixture(scope="module")
def estimator(seen: Sight, model: HeadModel) -> Estimator:
    return deca(seen, model)


def test_stages_make_a_file_of_a_flame_head(
    portrait: Portrait, estimator: Estimator, model: HeadModel, tmp_path: Path
) -> None:
    stages = stages_of(PROJECTION, estimator)
    fit = stages.estimate(portrait)
    views = stages.make_views(portrait, fit, 64, 0)
    assert views.images.shape == (16, 3, 64, 64)
    made = stages.reconstruct(portrait, fit, views)
    assert made.morph_names == model.expression_names and len(made.morph_names) == 100
    assert np.allclose(made.morph_weights, fit.expression)
    assert made.skeleton is not None and made.skeleton.names == model.joint_names
    made.export(tmp_path / "head.glb")
    mesh = trimesh.load(tmp_path / "head.glb", force="mesh")
    assert isinstance(mesh, trimesh.Trimesh) and len(mesh.faces) == len(made.faces)
    size = fit.neutral_mesh(model).vertices
    assert np.allclose(mesh.extents, (size.amax(0) - size.amin(0)).numpy(), atol=1e-4)


@torch.no_grad()
def test_pipeline_takes_an_estimator_or_its_head(portrait: Portrait, estimator: Estimator) -> None:
    """The same head, found on the way or before, makes the same views."""
    pipe = tiny_pipeline(PAPER)

    def views(**arguments: object) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        made = pipe(
            portrait, cameras=cameras(), num_inference_steps=1, generator=generator, output_type="pt", **arguments
        )
        assert made.head is not None and made.head.model_name == "flame"
        images: torch.Tensor = made.images
        return images

    found = views(estimator=estimator)
    assert found.shape[0] == VIEWS
    assert torch.equal(found, views(head=estimator(portrait), head_model=estimator.model))


def test_checkpoint_and_head_are_read_from_files(model: HeadModel, tmp_path: Path) -> None:
    """As the command does: a checkpoint of the public layout, and a folder of a converted head."""
    folder = save_head_model(model, tmp_path / "flame-2020")
    torch.save(deca_checkpoint(), tmp_path / "deca_model.tar")
    read = load_estimator("deca", tmp_path / "deca_model.tar", folder)
    assert (read.model.version, read.model.origin) == ("2020", model.origin)
    assert torch.equal(read.model.identity_basis, model.identity_basis)
    torch.save({"E_flame": {}}, tmp_path / "deca_model.tar")
    with pytest.raises(CheckpointError, match=r"encoder\.conv1\.weight"):
        load_estimator("deca", tmp_path / "deca_model.tar", folder)


def test_what_does_not_go_together_is_refused(portrait: Portrait, estimator: Estimator) -> None:
    fit = estimator(portrait)
    with pytest.raises(ConfigError, match="without heads"):
        load_subjects(portrait, fit, None, 32, 0.4, estimator)
    with pytest.raises(ConfigError, match="without head_model"):
        load_subjects(portrait, None, fake_flame("2023", 5, 5), 32, 0.4, estimator)
    with pytest.raises(HeadModelError, match="belongs to head model flame 2020"):
        load_subjects(portrait, fit, None, 32, 0.4)
    made = load_subjects(portrait, None, estimator.model, 32, 0.4, estimator)[0]
    assert made.model is estimator.model and made.fit.model_name == "flame"


def test_names_of_the_command_are_those_of_the_package() -> None:
    assert tuple(name.value for name in cli.EstimatorName) == ESTIMATORS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--estimator", "deca"], "needs --estimator-checkpoint"),
        (["--estimator", "mica", "--head-model", "flame-2020"], "needs --estimator-checkpoint"),
        (["--estimator-checkpoint", "deca_model.tar"], "goes with --estimator"),
        (["--estimator", "3ddfa"], "3ddfa"),
    ],
)
def test_wrong_usage_is_2(arguments: list[str], message: str, tmp_path: Path, photo: Path) -> None:
    result = CliRunner().invoke(cli.app, ["head", str(photo), "-o", str(tmp_path / "out"), *arguments])
    assert result.exit_code == 2 and message in result.output
    assert not (tmp_path / "out").exists()


def test_settings_tell_what_made_the_head(
    estimator: Estimator, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report names estimator and head model, and the checkpoint by its bytes: resuming depends on them."""
    checkpoint = tmp_path / "secret" / "deca_model.tar"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"abc")
    asked: list[object] = []
    monkeypatch.setattr("gen3dface.estimators.load_estimator", lambda *given: asked.append(given) or estimator)
    monkeypatch.setattr(cli, "_make_heads", lambda jobs, out, *rest: asked.append(rest) or [])
    arguments = ["--estimator", "deca", "--estimator-checkpoint", str(checkpoint), "--head-model", "flame-2020"]
    result = CliRunner().invoke(cli.app, ["head", str(photo), "-o", str(tmp_path / "out"), *arguments])
    assert result.exit_code == 0, result.output
    given, (settings, used, resume) = asked  # type: ignore[misc]
    assert given == ("deca", checkpoint, "flame-2020") and used is estimator and not resume
    assert (settings.estimator, settings.head_model) == ("deca", "flame 2020")
    assert settings.estimator_checkpoint.startswith("ba7816bf8f01cfea")  # FIPS 180-2's example: sha256 of "abc"
    assert "secret" not in repr(settings)
