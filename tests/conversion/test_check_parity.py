"""Number-by-number parity with the public peers, where their records are at hand."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from gen3dface.conversion.check_parity import CHECKS, compare, main
from gen3dface.conversion.fixtures import load_fixture
from gen3dface.errors import CheckpointError
from tests.conversion.peers import FIXTURES, HAVE_FIXTURES, REASON
from tests.conversion.reference_set import write_set

needs_fixtures = pytest.mark.skipif(not HAVE_FIXTURES, reason=REASON)


@needs_fixtures
def test_every_module_is_the_peers() -> None:
    command = [sys.executable, "-m", "gen3dface.conversion.check_parity", str(FIXTURES)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    present = {path.stem for path in FIXTURES.glob("*.safetensors")} & set(CHECKS)
    assert all(f"{name}: " in run.stdout for name in present)


@pytest.fixture(scope="session")
def other_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fixtures of every kind at sizes that no recorded set has."""
    folder = tmp_path_factory.mktemp("set")
    write_set(folder)
    return folder


def test_every_module_is_its_formula_at_other_sizes(other_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command on a set of another source: formulas in float64, which share no code with the package."""
    assert main([str(other_set), "--verbose"]) == 0
    said = capsys.readouterr().out
    assert all(f"{name}: " in said for name in CHECKS), "every kind is in the set"
    assert "noise_prediction_morphable_both: noise_pred_scale3.5" in said


def altered(source: Path, folder: Path, name: str, group: str) -> Path:
    """A copy of a fixture in which each tensor of one group is 30 % larger."""
    target = folder / f"{name}.safetensors"
    with safe_open(source / target.name, "pt") as file:
        tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        save_file({k: v * 1.3 if k.startswith(group) else v for k, v in tensors.items()}, target, file.metadata())
    return target


_GROUPS = ("weights/", "in/", "out/")
_ALTERED = [(name, group) for name in ("depth_transformer", "mesh_branch") for group in _GROUPS]
_ALTERED += [("volume_unprojection_sync", group) for group in _GROUPS[1:]]  # it has no weights


@pytest.mark.parametrize(("name", "group"), _ALTERED)
def test_other_numbers_do_not_pass(
    other_set: Path, tmp_path: Path, name: str, group: str, capsys: pytest.CaptureFixture[str]
) -> None:
    altered(other_set, tmp_path, name, group)
    assert main([str(tmp_path)]) == 1
    assert "MISSED" in capsys.readouterr().out


def rewritten(source: Path, folder: Path, name: str, meta: dict[str, Any], **more: torch.Tensor) -> Path:
    """A copy of a fixture with other metadata and further outputs."""
    target = folder / f"{name}.safetensors"
    with safe_open(source / target.name, "pt") as file:
        tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        described = json.loads(file.metadata()["meta"]) | meta
    described["suggested_absolute_tolerance"] |= dict.fromkeys(more, 1.0)
    save_file(tensors | {f"out/{k}": t for k, t in more.items()}, target, {"meta": json.dumps(described)})
    return target


@pytest.mark.parametrize("arguments", [{}, {"args": {"dim": 24, "n_heads": 5, "d_head": 2, "context_dim": 40}}])
def test_metadata_that_do_not_fit_are_a_miss_and_the_others_go_on(
    other_set: Path, tmp_path: Path, arguments: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    rewritten(other_set, tmp_path, "depth_transformer", {"constructor_arguments": arguments})
    shutil.copy(other_set / "time_embedding.safetensors", tmp_path)
    assert main([str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "does not fit" in said or "not of this kind" in said
    assert "time_embedding: " in said and "1 missed" in said


def test_the_kind_is_known_by_its_name_within_the_fixtures(other_set: Path, tmp_path: Path) -> None:
    path = rewritten(other_set, tmp_path, "depth_transformer", {"fixture": "b_depth_transformer_2"})
    assert main([str(tmp_path)]) == 0
    path.unlink()
    rewritten(other_set, tmp_path, "depth_transformer", {"fixture": "depth_transformers"})
    assert main([str(tmp_path)]) == 1


def test_nothing_compared_does_not_pass(other_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(other_set / "unet_small_weights_1.safetensors", tmp_path)
    assert main([str(tmp_path)]) == 1
    assert "weights alone" in capsys.readouterr().err
    meta = {"meta": json.dumps({"fixture": "time_embedding", "constructor_arguments": {}})}
    save_file({"in/t": torch.zeros(1)}, tmp_path / "time_embedding.safetensors", meta)
    assert main([str(tmp_path)]) == 1
    assert "no outputs" in capsys.readouterr().out


def test_an_output_that_we_do_not_give_is_a_miss(other_set: Path, tmp_path: Path) -> None:
    path = rewritten(other_set, tmp_path, "depth_transformer", {}, more=torch.zeros(2))
    fixture = load_fixture(path)
    assert fixture is not None
    worst = compare(fixture)[0]
    assert worst.output == "more" and worst.difference == float("inf") and not worst.holds


def test_a_missing_companion_is_an_error(other_set: Path, tmp_path: Path) -> None:
    shutil.copy(other_set / "unet_small.safetensors", tmp_path)
    assert main([str(tmp_path)]) == 1


def test_folders_and_files_that_are_no_fixtures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 1
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="not a fixture"):
        load_fixture(tmp_path / "a.safetensors")
    save_file({"out/a": torch.zeros(1)}, tmp_path / "a.safetensors", {"meta": '{"fixture": "other"}'})
    assert main([str(tmp_path)]) == 1
    assert "no module" in capsys.readouterr().out


def test_a_fixture_names_no_file_outside_its_folder(tmp_path: Path) -> None:
    meta = '{"fixture": "unet_small", "weights_in": ["../x.safetensors"]}'
    save_file({"out/a": torch.zeros(1)}, tmp_path / "a.safetensors", {"meta": meta})
    with pytest.raises(CheckpointError, match="outside"):
        load_fixture(tmp_path / "a.safetensors")
