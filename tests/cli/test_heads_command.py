"""`gen3dface heads`: convert, list and show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from gen3dface import cli
from gen3dface.errors import HeadModelError
from gen3dface.heads import load_head_model
from gen3dface.heads.store import read_head_landmarks
from tests.heads.fake_flame import (
    MEDIAPIPE,
    arrays_of_head,
    dump_python2,
    fake_arrays,
    fake_landmarks,
    write_landmarks,
    write_mediapipe,
    write_pkl,
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GEN3DFACE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*arguments: object) -> str:
    result = CliRunner().invoke(cli.app, ["heads", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_flame_is_converted_listed_and_shown(home: Path, tmp_path: Path) -> None:
    head = load_head_model()
    path = write_pkl(tmp_path / "flame2023.pkl", arrays_of_head(head), chumpy=False)
    mediapipe = write_mediapipe(
        tmp_path / "mediapipe.npz", head.landmark_faces[MEDIAPIPE].numpy(), head.landmark_barycentric[MEDIAPIPE].numpy()
    )
    table = write_landmarks(tmp_path / "landmark_embedding.npy", fake_landmarks(len(head.faces)))
    masks = tmp_path / "FLAME_masks.pkl"
    masks.write_bytes(dump_python2({"nose": np.arange(10)}))
    made = run("convert", "flame", path, "--landmarks", mediapipe, "--landmarks", table, "--masks", masks)
    assert made.strip() == str(home / "heads" / "flame-2023")
    lines = run("list").splitlines()
    assert lines[0].split()[:3] == ["openhead", "openhead", head.version]
    assert lines[1].startswith("flame-2023") and "non-commercial" in lines[1]
    assert f"{len(head.template)} vertices" in lines[1] and "300 + 100 components" in lines[1]
    model = load_head_model("flame-2023")
    assert int((model.landmark_faces >= 0).sum()) == 105 and int(model.regions["nose"].sum()) == 10
    assert read_head_landmarks(home / "heads" / "flame-2023") is not None
    run("show", "flame-2023", "-o", tmp_path / "flame.png")
    picture = np.asarray(Image.open(tmp_path / "flame.png").convert("RGB")).astype(int)
    red = (picture[..., 0] > 150) & (picture[..., 1:].max(-1) < 80)
    blue = (picture[..., 2] > 150) & (picture[..., :2].max(-1) < 110)
    assert (picture < 240).any(-1).mean() > 0.2 and red.sum() > 300 and blue.sum() > 300


def test_a_cut_flame_is_converted_with_its_number_of_identities(home: Path, tmp_path: Path) -> None:
    path = write_pkl(tmp_path / "flame2020.pkl", fake_arrays(columns=15))
    run("convert", "flame", path, "--identities", 10)
    model = load_head_model("flame-2020")
    assert (model.identity_size, len(model.expression_names)) == (10, 5)


def test_a_mesh_is_converted(home: Path, tmp_path: Path) -> None:
    (tmp_path / "scan.obj").write_text("v 0 0 0\nv 10 0 0\nv 10 10 0\nf 1 2 3\n")
    run("convert", "mesh", tmp_path / "scan.obj", "--unit", "cm", "-o", tmp_path / "scan")
    assert load_head_model(str(tmp_path / "scan")).template.max().item() == pytest.approx(0.1)
    run("show", tmp_path / "scan", "-o", tmp_path / "scan.png")
    assert Image.open(tmp_path / "scan.png").size[0] > 0


def test_options_of_another_kind_are_refused(home: Path, tmp_path: Path) -> None:
    for arguments in (
        ["mesh", "a.obj", "--version", "2020"],
        ["ict", "a", "--unit", "mm"],
        ["gnm", "a.npz", "--identities", "100"],
        ["gnm", "a.npz", "--landmarks", "b.npy"],
        ["flame", "a.pkl", "--landmarks", "b.npz", "--landmarks", "c.npz"],
    ):
        result = CliRunner().invoke(cli.app, ["heads", "convert", *arguments])
        assert result.exit_code == 2, arguments


def test_a_missing_file_is_one_known_error(home: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli.app, ["heads", "convert", "flame", str(tmp_path / "flame2020.pkl")])
    assert isinstance(result.exception, HeadModelError) and "No such file" in str(result.exception)
    assert not (home / "heads").exists()
