"""Number-by-number parity with the public peers, where their records are at hand."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from gen3dface.conversion.check_parity import CHECKS, compare, main
from gen3dface.conversion.fixtures import load_fixture
from gen3dface.errors import CheckpointError
from tests.conversion.peers import FIXTURES, HAVE_FIXTURES, REASON

needs_fixtures = pytest.mark.skipif(not HAVE_FIXTURES, reason=REASON)


@needs_fixtures
def test_every_module_is_the_peers() -> None:
    command = [sys.executable, "-m", "gen3dface.conversion.check_parity", str(FIXTURES)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    present = {path.stem for path in FIXTURES.glob("*.safetensors")} & set(CHECKS)
    assert all(f"{name}: " in run.stdout for name in present)


def altered(folder: Path, name: str, group: str) -> Path:
    """A copy of a fixture in which each tensor of one group is 30 % larger."""
    target = folder / f"{name}.safetensors"
    with safe_open(FIXTURES / target.name, "pt") as file:
        tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        save_file({k: v * 1.3 if k.startswith(group) else v for k, v in tensors.items()}, target, file.metadata())
    return target


@needs_fixtures
@pytest.mark.parametrize("group", ["weights/", "in/", "out/"])
def test_other_numbers_do_not_pass(tmp_path: Path, group: str, capsys: pytest.CaptureFixture[str]) -> None:
    altered(tmp_path, "depth_transformer", group)
    assert main([str(tmp_path)]) == 1
    assert "MISSED" in capsys.readouterr().out


@needs_fixtures
def test_an_output_that_we_do_not_give_is_a_miss(tmp_path: Path) -> None:
    path = tmp_path / "depth_transformer.safetensors"
    with safe_open(FIXTURES / path.name, "pt") as file:
        tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        meta = {"meta": file.metadata()["meta"].replace('"proj_in": 2e-06', '"proj_in": 2e-06, "more": 1.0')}
    save_file({**tensors, "out/more": torch.zeros(2)}, path, meta)
    fixture = load_fixture(path)
    assert fixture is not None
    worst = compare(fixture)[0]
    assert worst.output == "more" and worst.difference == float("inf") and not worst.holds


@needs_fixtures
def test_a_missing_companion_is_an_error(tmp_path: Path) -> None:
    shutil.copy(FIXTURES / "unet_small.safetensors", tmp_path)
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
