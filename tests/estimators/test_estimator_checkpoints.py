"""Checkpoints laid out as the public ones: what loads, what is named, what is refused."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gen3dface.errors import CheckpointError
from gen3dface.estimators import checkpoint_reading
from gen3dface.estimators.checkpoint_reading import read_checkpoint
from gen3dface.estimators.deca import read_deca
from gen3dface.estimators.mica import read_mica
from gen3dface.estimators.smirk import SmirkNetwork, read_smirk
from tests.estimators.fake_networks import filled, picture

PUBLIC: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "public_networks.json").read_text())
Named = dict[str, Tensor]
_IRESNET100 = ((3, 64), (13, 128), (30, 256), (3, 512))


def flat(shape: list[int]) -> Tensor:
    """A tensor of ones of this shape that takes one number in a file."""
    return torch.ones(1).expand(shape) if shape else torch.zeros((), dtype=torch.int64)


def with_counters(names: dict[str, list[int]]) -> Named:
    """Batch norms keep a counter beside their variance."""
    out = {}
    for name, shape in names.items():
        out[name] = flat(shape)
        if name.endswith("running_var"):
            out[name.replace("running_var", "num_batches_tracked")] = flat([])
    return out


def norm(name: str, width: int) -> dict[str, list[int]]:
    return {f"{name}.{part}": [width] for part in ("weight", "bias", "running_mean", "running_var")}


def deca_regressor(outputs: int) -> Named:
    encoder = {f"encoder.{name}": shape for name, shape in PUBLIC["resnet50"]["names"].items()}
    head = {"layers.0.weight": [1024, 2048], "layers.0.bias": [1024]}
    return with_counters(encoder | head | {"layers.2.weight": [outputs, 1024], "layers.2.bias": [outputs]})


def deca() -> dict[str, Any]:
    """deca_model.tar: the detail decoder has 44 tensors of its own."""
    decoder = {f"conv_blocks.{k}.weight": flat([4, 4, 3, 3]) for k in range(44)}
    return {"E_flame": deca_regressor(236), "E_detail": deca_regressor(128), "D_detail": decoder}


def smirk() -> dict[str, Any]:
    """SMIRK_em1.pt: one flat dictionary, with the generator that is not needed."""
    out: Named = {"smirk_generator.encoder.weight": flat([32, 6, 3, 3])}
    for part, backbone, head, width, outputs in (
        ("pose_encoder", "mobilenet_v3_small", "pose_cam_layers", 576, 6),
        ("shape_encoder", "mobilenet_v3_large", "shape_layers", 960, 300),
        ("expression_encoder", "mobilenet_v3_large", "expression_layers", 960, 55),
    ):
        names = {f"encoder.{name}": shape for name, shape in PUBLIC[backbone]["names"].items()}
        names |= {f"{head}.0.weight": [outputs, width], f"{head}.0.bias": [outputs]}
        out |= {f"smirk_encoder.{part}.{name}": value for name, value in with_counters(names).items()}
    return out


def mica() -> dict[str, Any]:
    """mica.tar: recognition, mapping with a copy of FLAME, and what its training kept."""
    names = {"conv1.weight": [64, 3, 3, 3]} | norm("bn1", 64) | {"prelu.weight": [64]}
    channels = 64
    for stage, (count, width) in enumerate(_IRESNET100, 1):
        for block in range(count):
            place = f"layer{stage}.{block}"
            names |= norm(f"{place}.bn1", channels) | {f"{place}.conv1.weight": [width, channels, 3, 3]}
            names |= norm(f"{place}.bn2", width) | {f"{place}.prelu.weight": [width]}
            names |= {f"{place}.conv2.weight": [width, width, 3, 3]} | norm(f"{place}.bn3", width)
            if block == 0:
                names |= {f"{place}.downsample.0.weight": [width, channels, 1, 1]}
                names |= norm(f"{place}.downsample.1", width)
            channels = width
    names |= norm("bn2", 512) | {"fc.weight": [512, 25088], "fc.bias": [512]} | norm("features", 512)
    mapping = {}
    for layer, inputs in enumerate((512, 300, 300, 300)):
        mapping |= {f"regressor.network.{layer}.weight": [300, inputs], f"regressor.network.{layer}.bias": [300]}
    mapping |= {"regressor.output.weight": [300, 300], "regressor.output.bias": [300]}
    mapping |= {"generator.v_template": [5023, 3], "generator.shapedirs": [5023, 3, 400], "generator.eye_pose": [1, 6]}
    kept = {"embeddings_lyhm": {"a": [np.ones(3, np.float32)]}, "best_model": {"loss": np.float64(1.5)}}
    return {
        "arcface": with_counters(names),
        "flameModel": {name: flat(shape) for name, shape in mapping.items()},
        "opt": {"state": {0: {"step": 3, "exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1e-4}]},
        "scheduler": {"last_epoch": 1},
        "validator": kept,
        "epoch": 5,
        "global_step": 160000,
        "batch_size": 8,
    }


LAYOUTS: dict[str, tuple[Callable[[], dict[str, Any]], Callable[[Path], torch.nn.Module], int]] = {
    "deca": (deca, read_deca, 322),
    "smirk": (smirk, read_smirk, 762),
    "mica": (mica, read_mica, 925 + 10),
}
WEIGHTS = {"deca": ("E_flame",), "smirk": (), "mica": ("arcface",)}  # the way to one dictionary of weights


def weights_of(name: str, content: dict[str, Any]) -> dict[str, Any]:
    for part in WEIGHTS[name]:
        content = content[part]
    return content


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("zipped", [True, False])
def test_layouts_of_the_public_checkpoints_load(name: str, zipped: bool, tmp_path: Path) -> None:
    layout, read, count = LAYOUTS[name]
    torch.save(layout(), tmp_path / "c.tar", _use_new_zipfile_serialization=zipped)
    network = read(tmp_path / "c.tar")
    state = network.state_dict()
    assert len(state) == count
    assert not network.training and not any(value.requires_grad for value in network.parameters())
    assert all((value == 1).all() for key, value in state.items() if not key.endswith("num_batches_tracked"))


@pytest.mark.parametrize("name", LAYOUTS)
def test_one_name_missing_or_too_many_is_named(name: str, tmp_path: Path) -> None:
    layout, read, _ = LAYOUTS[name]
    content = layout()
    weights = weights_of(name, content)
    lost = next(key for key in weights if key.endswith("conv1.weight") or "conv_stem" in key)
    taken = weights.pop(lost)
    torch.save(content, tmp_path / "c.tar")
    with pytest.raises(CheckpointError, match=rf"{lost.removeprefix('smirk_encoder.')} missing"):
        read(tmp_path / "c.tar")
    weights[lost] = taken
    weights["fc_extra.weight"] = flat([2, 2])
    torch.save(content, tmp_path / "c.tar")
    with pytest.raises(CheckpointError, match=r"fc_extra.weight unknown"):
        read(tmp_path / "c.tar")
    del weights["fc_extra.weight"]
    weights[lost] = flat([1, 2, 3, 4])
    torch.save(content, tmp_path / "c.tar")
    with pytest.raises(CheckpointError, match=r"\[1, 2, 3, 4\], expected"):
        read(tmp_path / "c.tar")


def test_other_sections_are_named(tmp_path: Path) -> None:
    torch.save(deca() | {"E_expression": {}}, tmp_path / "c.tar")
    with pytest.raises(CheckpointError, match="E_expression"):
        read_deca(tmp_path / "c.tar")
    torch.save({"state_dict": deca()["E_flame"]}, tmp_path / "c.tar")
    with pytest.raises(CheckpointError, match="no 'E_flame'; it holds state_dict"):
        read_deca(tmp_path / "c.tar")
    with pytest.raises(CheckpointError, match="no 'arcface'"):
        torch.save({"flameModel": {}}, tmp_path / "c.tar")
        read_mica(tmp_path / "c.tar")


@torch.no_grad()
def test_loaded_weights_are_the_files(tmp_path: Path) -> None:
    """A network that was saved says the same when it is read, though its file is gone by then."""
    network = filled(SmirkNetwork()).float()
    path = tmp_path / "smirk.pt"
    torch.save({f"smirk_encoder.{name}": value for name, value in network.state_dict().items()}, path)
    read = read_smirk(path)
    path.unlink()
    for ours, theirs in zip(read(picture(64).float()), network(picture(64).float()), strict=True):
        assert torch.equal(ours, theirs)


@torch.no_grad()
def test_smirk_opens_its_jaw_only_and_bounds_lids(tmp_path: Path) -> None:
    """jaw = (relu, clamp +-0.2, clamp +-0.2), lids in 0..1; outputs in the order expression 50, lids 2, jaw 3."""
    network = filled(SmirkNetwork())
    last = network.get_submodule("expression_encoder.expression_layers.0")
    last.weight.zero_()
    said = torch.linspace(-3, 3, 55, dtype=torch.float64)
    said[50:] = torch.tensor([1.7, -0.4, -0.3, 0.9, -0.9])
    last.bias.copy_(said)
    code = network(picture(64))
    assert torch.equal(code.expression[0], said[:50])
    assert code.eyelids[0].tolist() == [1.0, 0.0] and code.jaw[0].tolist() == [0.0, 0.2, -0.2]
    view = network.get_submodule("pose_encoder.pose_cam_layers.0")
    view.weight.zero_()
    view.bias.copy_(torch.arange(6.0))
    code = network(picture(64))
    assert code.pose[0].tolist() == [0, 1, 2] and code.camera[0].tolist() == [3, 4, 5]


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("name", LAYOUTS)
def test_hostile_checkpoints_are_refused_and_not_run(name: str, tmp_path: Path) -> None:
    layout, read, _ = LAYOUTS[name]
    torch.save(layout() | {"opt": Hostile(tmp_path / "ran")}, tmp_path / "c.tar")
    with pytest.raises(CheckpointError, match=r"nothing in it was run.*system"):
        read(tmp_path / "c.tar")
    assert not (tmp_path / "ran").exists()


def test_numpy_beside_the_weights_is_never_made(tmp_path: Path) -> None:
    torch.save({"validator": {"a": np.ones(3)}}, tmp_path / "c.tar")
    content = read_checkpoint(tmp_path / "c.tar")
    assert not isinstance(content["validator"]["a"], np.ndarray)  # type: ignore[index]


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off", b"\x80\x02N."])
def test_damaged_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "c.tar").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"c\.tar"):
        read_deca(tmp_path / "c.tar")


def test_missing_large_and_packed_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        read_deca(tmp_path / "c.tar")
    with zipfile.ZipFile(tmp_path / "c.tar", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("c/data.pkl", b"\x80\x02N." + bytes(1 << 20))
    with pytest.raises(CheckpointError, match="compressed"):
        read_deca(tmp_path / "c.tar")
    monkeypatch.setattr(checkpoint_reading, "_MOST_BYTES", 100)
    with pytest.raises(CheckpointError, match="larger"):
        read_deca(tmp_path / "c.tar")


def test_weights_that_are_no_tensors_are_named(tmp_path: Path) -> None:
    torch.save({"smirk_encoder.pose_encoder.encoder.conv_stem.weight": [1.0]}, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=r"conv_stem.weight, which is no tensor"):
        read_smirk(tmp_path / "c.pt")
