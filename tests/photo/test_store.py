"""A saved portrait comes back the same, and nothing else is taken for one."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gen3dface.errors import OutputError, PortraitError
from gen3dface.photo import Portrait
from gen3dface.photo.store import FORMAT


@pytest.fixture
def made_up() -> Portrait:
    random = np.random.default_rng(0)
    return Portrait(
        image=random.integers(0, 256, (30, 20, 3), dtype=np.uint8),
        box=(1.5, 2.25, 10.0, 12.125),
        score=0.75,
        landmarks=random.random((478, 3), np.float32),
        blendshapes=random.random(52, np.float32),
        matte=random.random((30, 20), np.float32),
        parts=random.integers(0, 6, (30, 20), dtype=np.uint8),
        source="größer.jpg",
        warnings=["2 faces were found"],
        focal=1234.5,
    )


def test_round_trip_is_exact(made_up, tmp_path):
    path = tmp_path / "portrait.safetensors"
    made_up.save(path)
    loaded = Portrait.load(path)
    for name in ("image", "landmarks", "blendshapes", "matte", "parts"):
        assert np.array_equal(getattr(loaded, name), getattr(made_up, name))
        assert getattr(loaded, name).dtype == getattr(made_up, name).dtype
    assert (loaded.box, loaded.score) == (made_up.box, made_up.score)
    assert (loaded.source, loaded.warnings, loaded.focal) == (made_up.source, made_up.warnings, 1234.5)
    assert [p.name for p in tmp_path.iterdir()] == ["portrait.safetensors"]
    first = path.read_bytes()
    made_up.save(path)
    assert path.read_bytes() == first


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 64])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(PortraitError, match="not a readable portrait"):
        Portrait.load(tmp_path / "x")


def test_missing_and_truncated(made_up, tmp_path):
    with pytest.raises(PortraitError):
        Portrait.load(tmp_path / "nobody")
    path = tmp_path / "portrait.safetensors"
    made_up.save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(PortraitError):
        Portrait.load(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("matte", np.zeros((31, 20), np.float32)),
        ("landmarks", np.full((478, 3), np.nan, np.float32)),
        ("parts", np.zeros((30, 20), np.float32)),
    ],
)
def test_wrong_arrays_are_refused_by_name(made_up, tmp_path, name, value):
    path = tmp_path / "portrait.safetensors"
    made_up.save(path)
    arrays = load_file(path) | {name: value}
    save_file(
        arrays,
        path,
        {"portrait": json.dumps({"format": FORMAT, "score": 1, "source": "x", "warnings": [], "focal": None})},
    )
    with pytest.raises(PortraitError, match=name):
        Portrait.load(path)


def test_other_safetensors_are_refused(tmp_path):
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "w.safetensors")
    with pytest.raises(PortraitError, match="no portrait saved by this version"):
        Portrait.load(tmp_path / "w.safetensors")


def test_a_folder_that_is_not_there(made_up, tmp_path):
    with pytest.raises(OutputError, match="cannot write"):
        made_up.save(tmp_path / "nowhere" / "portrait.safetensors")
