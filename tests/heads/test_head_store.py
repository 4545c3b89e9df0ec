"""Converted head models: saved, read, found by name, and kept apart by their versions."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gen3dface.cameras import rig
from gen3dface.errors import HeadModelError, OutputError
from gen3dface.estimators import HeadFit
from gen3dface.heads import HeadModel, load_head_model, read_head_model, save_head_model
from gen3dface.heads.flame import read_flame
from gen3dface.heads.flame_landmarks import read_flame_landmarks
from gen3dface.heads.store import read_head_landmarks
from tests.heads.fake_flame import fake_arrays, fake_landmarks, write_landmarks, write_npz


@pytest.fixture
def flame(tmp_path: Path) -> HeadModel:
    return read_flame(write_npz(tmp_path / "flame2020.npz", fake_arrays()))


def check_equal(one: HeadModel, two: HeadModel) -> None:
    for field in fields(HeadModel):
        a, b = getattr(one, field.name), getattr(two, field.name)
        if isinstance(a, Tensor):
            assert torch.equal(a, b), field.name
        elif field.name == "regions":
            assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
        else:
            assert a == b, field.name


def test_saved_and_read_it_is_the_same(tmp_path: Path, flame: HeadModel) -> None:
    check_equal(read_head_model(save_head_model(flame, tmp_path / "deep" / "er")), flame)
    assert read_head_landmarks(tmp_path / "deep" / "er") is None
    bundled = load_head_model()
    check_equal(read_head_model(save_head_model(bundled, tmp_path / "copy")), bundled)


def test_the_sliding_landmarks_go_along(tmp_path: Path, flame: HeadModel) -> None:
    table = read_flame_landmarks(write_landmarks(tmp_path / "a.npy", fake_landmarks(70)), 70)
    again = read_head_landmarks(save_head_model(flame, tmp_path / "flame", table))
    assert again is not None and torch.equal(again.dynamic_barycentric, table.dynamic_barycentric)
    assert torch.equal(again.dynamic_faces, table.dynamic_faces)


def test_a_folder_that_is_there_is_not_replaced(tmp_path: Path, flame: HeadModel) -> None:
    save_head_model(flame, tmp_path / "flame")
    with pytest.raises(OutputError, match="is there already"):
        save_head_model(load_head_model(), tmp_path / "flame")
    check_equal(read_head_model(tmp_path / "flame"), flame)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".partial")]


def test_a_folder_or_a_converted_name_works_as_a_name(
    tmp_path: Path, flame: HeadModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEN3DFACE_HOME", str(tmp_path / "home"))
    save_head_model(flame, tmp_path / "home" / "heads" / "mine")
    check_equal(load_head_model("mine"), flame)
    check_equal(load_head_model(str(tmp_path / "home" / "heads" / "mine")), flame)
    with pytest.raises(HeadModelError, match=r"'other'; choose one of openhead, mine"):
        load_head_model("other")


def fit_of(model: HeadModel) -> HeadFit:
    count = len(model.template)
    return HeadFit(
        model_name=model.name,
        model_version=model.version,
        identity=torch.zeros(model.identity_size),
        expression=torch.zeros(len(model.expression_names)),
        rotations=torch.zeros(len(model.joint_names), 3),
        offsets=torch.zeros(count, 3),
        camera=rig("head360", 64)[0],
        visibility=torch.zeros(count),
        residual=torch.full((478,), torch.nan),
        confidence=0.5,
    )


@pytest.mark.parametrize("other", ["2019", "2023", "2023-open", "2020-female"])
def test_coefficients_of_one_flame_are_refused_by_another(tmp_path: Path, flame: HeadModel, other: str) -> None:
    """2020's and 2023's have the same shapes and mean different heads."""
    fit = fit_of(flame)
    another = read_flame(tmp_path / "flame2020.npz", other)
    assert fit.mesh(flame).vertices.shape == flame.template.shape
    with pytest.raises(HeadModelError, match=f"flame 2020, not to flame {other}"):
        fit.mesh(another)
    with pytest.raises(HeadModelError, match=f"flame {other}, not to flame 2020"):
        fit_of(read_head_model(save_head_model(another, tmp_path / "other"))).neutral_mesh(flame)
    with pytest.raises(HeadModelError, match="not to openhead"):
        fit.mesh(load_head_model())


def test_damaged_folders_are_refused(tmp_path: Path, flame: HeadModel) -> None:
    folder = save_head_model(flame, tmp_path / "flame")
    note, numbers = (folder / "head.json").read_text(), (folder / "head.safetensors").read_bytes()

    def refused(message: str) -> None:
        with pytest.raises(HeadModelError, match=message):
            read_head_model(folder)
        (folder / "head.json").write_text(note)
        (folder / "head.safetensors").write_bytes(numbers)

    (folder / "head.json").write_text(note[:-20])
    refused("damaged")
    (folder / "head.json").write_text("[1]")
    refused("no head model")
    for name, value in {
        "joint_parents": [-1, 0, 1, 1],
        "expression_names": ["a"],
        "origin": [0.0],
        "regions": 3,
    }.items():
        (folder / "head.json").write_text(json.dumps({**json.loads(note), name: value}))
        refused("flame")
    (folder / "head.safetensors").write_bytes(numbers[: len(numbers) // 2])
    refused("damaged")
    with pytest.raises(HeadModelError, match="holds no head model"):
        read_head_model(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["faces", "uv_faces", "landmark_faces", "mirror", "collar"])
def test_indices_that_point_nowhere_are_refused(tmp_path: Path, flame: HeadModel, name: str) -> None:
    wrong = getattr(load_head_model(), name).clone() if name == "collar" else getattr(flame, name).clone()
    wrong.flatten()[0] = 1 << 40
    folder = save_head_model(replace(flame, **{name: wrong}), tmp_path / "wrong")
    with pytest.raises(HeadModelError, match=name):
        read_head_model(folder)
