"""Checkpoints are read as weights; anything that would run is refused by name and does not run."""

import functools
import os
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gen3dface.conversion.read import read_state_dict
from gen3dface.errors import CheckpointError
from gen3dface.files import file_sha256


def test_plain_nested_and_safetensors_give_the_same_tensors(tmp_path: Path) -> None:
    weights = OrderedDict(a=torch.randn(3, 4), b=torch.arange(5))
    torch.save(weights, tmp_path / "plain.pt")
    torch.save({"state_dict": weights, "epoch": 3, "hyper": {"lr": 0.1}}, tmp_path / "nested.ckpt")
    torch.save(weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(dict(weights), tmp_path / "safe.safetensors")
    for name in ("plain.pt", "nested.ckpt", "old.pth", "safe.safetensors"):
        read = read_state_dict(tmp_path / name)
        assert read.keys() == weights.keys()
        assert all(torch.equal(read[k], weights[k]) for k in weights), name


class _Call:
    """Pickles as a call, as a hostile file would."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize(("where", "name"), [("top", "system"), ("nested", "system"), ("partial", "partial")])
@pytest.mark.parametrize("zipped", [True, False])
def test_hostile_pickles_are_refused_by_name_and_do_nothing(
    where: str, name: str, zipped: bool, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    command = f"touch {mark}"
    bad = _Call(functools.partial, os.system, command) if where == "partial" else _Call(os.system, command)
    content = bad if where == "top" else {"state_dict": {"w": torch.ones(2)}, "extra": [bad]}
    torch.save(content, tmp_path / "bad.ckpt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=name):
        read_state_dict(tmp_path / "bad.ckpt")
    assert not mark.exists()


def test_a_bare_pickle_does_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(_Call(os.system, f"touch {mark}")))
    with pytest.raises(CheckpointError):
        read_state_dict(tmp_path / "bad.pkl")
    assert not mark.exists()


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        read_state_dict(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    torch.save({"epoch": 1}, tmp_path / "empty.pt")
    torch.save([torch.ones(1)], tmp_path / "list.pt")
    for name, message in {
        "text.pt": "text.pt",
        "text.safetensors": "safetensors",
        "empty.pt": "no tensors",
        "list.pt": "list",
    }.items():
        with pytest.raises(CheckpointError, match=message):
            read_state_dict(tmp_path / name)


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.randn(1000)}, tmp_path / "whole.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:-500])
    with pytest.raises(CheckpointError, match=r"cut\.pt"):
        read_state_dict(tmp_path / "cut.pt")


def test_digest(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert file_sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_what_lightning_mentions_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": module.__name__})  # type: ignore[attr-defined]
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks", module.__name__):
        monkeypatch.setitem(sys.modules, name, module)
    content = {"state_dict": {"w": torch.ones(2)}, "callbacks": {module.ModelCheckpoint: {"best": 1}}}
    torch.save(content, tmp_path / "lightning.ckpt")
    monkeypatch.undo()
    assert read_state_dict(tmp_path / "lightning.ckpt")["w"].tolist() == [1, 1]
