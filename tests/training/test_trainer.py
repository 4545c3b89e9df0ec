"""Runs of a few steps: resumed ones equal unbroken ones bit for bit, and what is left on the disk is whole."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from gen3dface.data_synth.shards import write_shard
from gen3dface.errors import CheckpointError, ConfigError, DataError, OutputError
from gen3dface.pipelines import Gen3DFacePipeline
from gen3dface.training.checkpoints import Checkpoints
from gen3dface.training.trainer import Trainer
from gen3dface.training.validation import contact_sheet, psnr, spread_views
from tests.data_synth.samples import random_sample
from tests.pipelines.tiny_models import PAPER
from tests.training.conftest import Configure

FIGURES = ("step", "loss", "gradient_norm", "learning_rate")


def _figures(run: Path) -> list[tuple[float, ...]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [tuple(row[name] for name in FIGURES) for row in rows if "loss" in row]


def _state(run: Path, step: int) -> dict[str, bytes]:
    folder = run / "checkpoints" / f"step-{step:09d}"
    return {name: (folder / name).read_bytes() for name in ("model.safetensors", "ema.safetensors")}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """Four steps, a checkpoint after each second."""
    from gen3dface.training.config import parse_train_config
    from tests.training.conftest import settings

    run = tmp_path_factory.mktemp("unbroken") / "run"
    progress = Trainer(parse_train_config(settings(data)), run).fit()
    assert progress.step == 4
    return run


def test_a_run_leaves_what_it_should(unbroken: Path) -> None:
    figures = _figures(unbroken)
    assert [row[0] for row in figures] == [1, 2, 3, 4]
    assert all(math.isfinite(value) for row in figures for value in row)
    names = {"config.yaml", "versions.json", "data.json", "metrics.jsonl", "checkpoints", "pipeline"}
    assert names <= {path.name for path in unbroken.iterdir()}
    assert json.loads((unbroken / "data.json").read_text())["licences"] == ["CC0-1.0"]
    assert "torch" in json.loads((unbroken / "versions.json").read_text())


def test_a_resumed_run_is_the_unbroken_run(unbroken: Path, tmp_path: Path, configure: Configure) -> None:
    """As after a kill in step 4: its figures are there, its checkpoint is half-written."""
    run = tmp_path / "run"
    shutil.copytree(unbroken, run)
    shutil.rmtree(run / "pipeline")
    (run / "checkpoints" / "step-000000004").rename(run / "checkpoints" / ".step-000000004.tmp")
    (run / "metrics.jsonl").write_text((unbroken / "metrics.jsonl").read_text()[:-40])
    trainer = Trainer(configure(), run)
    assert trainer.progress.step == 2
    assert not list((run / "checkpoints").glob(".*.tmp"))
    trainer.fit()
    assert _figures(run) == _figures(unbroken)
    assert _state(run, 4) == _state(unbroken, 4)


def test_a_finished_run_is_not_trained_on(unbroken: Path, tmp_path: Path, configure: Configure) -> None:
    run = tmp_path / "run"
    shutil.copytree(unbroken, run)
    Trainer(configure(), run).fit()
    assert _figures(run) == _figures(unbroken)


def test_the_time_limit_ends_a_slice(unbroken: Path, tmp_path: Path, configure: Configure) -> None:
    """Slices of one step each, and the end is that of the unbroken run; workers or not."""
    run = tmp_path / "run"
    for step in range(1, 5):
        sliced = configure(max_minutes=1e-9, data={"workers": step % 2}, checkpoint={"steps": None})
        assert Trainer(sliced, run).fit().step == step
    assert _figures(run) == _figures(unbroken)
    assert _state(run, 4) == _state(unbroken, 4)


def test_the_saved_pipeline_has_the_averaged_weights(
    unbroken: Path, tmp_path: Path, configure: Configure, data: Path
) -> None:
    from safetensors.torch import load_file

    average = load_file(unbroken / "checkpoints" / "step-000000004" / "ema.safetensors")
    current = load_file(unbroken / "checkpoints" / "step-000000004" / "model.safetensors")
    pipe = Gen3DFacePipeline.from_pretrained(unbroken / "pipeline")
    found = {f"unet.{name}": p for name, p in pipe.unet.named_parameters()}
    assert all(torch.equal(p, average[name]) for name, p in found.items())
    assert any(not torch.equal(p, current[name]) for name, p in found.items())
    run = tmp_path / "half"
    shutil.copytree(unbroken, run)
    trainer = Trainer(configure(checkpoint={"dtype": "float16"}), run)
    trainer.save_pipeline(tmp_path / "saved")
    half = load_file(tmp_path / "saved" / "unet" / "diffusion_pytorch_model.safetensors")
    name, weight = next(iter(half.items()))
    assert weight.dtype == torch.float16
    torch.testing.assert_close(weight.float(), average[f"unet.{name}"], atol=1e-3, rtol=1e-3)
    assert torch.equal(dict(trainer.pipe.unet.named_parameters())[name], current[f"unet.{name}"])


def test_another_configuration_or_other_data_is_refused(unbroken: Path, tmp_path: Path, configure: Configure) -> None:
    with pytest.raises(ConfigError, match="other values of objective, optimiser"):
        Trainer(configure(objective={"gamma": 2.0}, optimiser={"unet": 1e-3}), unbroken)
    write_shard(tmp_path / "other", 0, [random_sample("z", 9, views=4)])
    with pytest.raises(DataError, match="other data"):
        Trainer(configure(data={"sources": [{"path": str(tmp_path / "other")}]}), unbroken)


def test_two_processes_cannot_train_in_one_folder(unbroken: Path, tmp_path: Path, configure: Configure) -> None:
    run = tmp_path / "run"
    shutil.copytree(unbroken, run)
    lock = f"import filelock; lock = filelock.FileLock({str(run / '.lock')!r}); lock.acquire()"
    command = [sys.executable, "-c", f"{lock}; print('held', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match="Another process"):
            Trainer(configure(), run)
        other.kill()
    assert Trainer(configure(), run).progress.step == 4


@pytest.mark.usefixtures("unbroken")  # accelerate is up, with one process
def test_processes_that_do_not_find_each_other_are_refused(
    tmp_path: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """accelerate would take each for a run of its own."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="2 processes were launched"):
        Trainer(configure(), tmp_path / "run")


def test_a_damaged_checkpoint_is_named_not_skipped(unbroken: Path, tmp_path: Path, configure: Configure) -> None:
    run = tmp_path / "run"
    shutil.copytree(unbroken, run)
    path = run / "checkpoints" / "step-000000004" / "ema.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="step-000000004"):
        Trainer(configure(), run)


def test_the_newest_checkpoints_are_kept(tmp_path: Path, configure: Configure) -> None:
    run = tmp_path / "run"
    Trainer(configure(checkpoint={"steps": 1, "keep": 2}), run).fit()
    found = Checkpoints(run / "checkpoints", 2).whole()
    assert [path.name for path in found] == ["step-000000003", "step-000000004"]
    assert {path.name for path in (run / "checkpoints").iterdir()} == {path.name for path in found}


def test_parts_of_a_batch_give_the_whole_batch_s_gradients(tmp_path: Path, configure: Configure) -> None:
    """With frozen batch norm, whose statistics are otherwise each part's own."""
    more: dict[str, Any] = {"iterations": 1, "batch_norm": "frozen"}
    for name, parts in (("whole", 1), ("parts", 2)):
        Trainer(configure(**more, optimiser={"accumulate": parts}), tmp_path / name).fit()
    whole, parts = (_figures(tmp_path / name)[0] for name in ("whole", "parts"))
    assert parts == pytest.approx(whole, rel=1e-4)


def test_a_batch_that_cannot_be_divided_is_refused(tmp_path: Path, configure: Configure) -> None:
    with pytest.raises(ConfigError, match="multiple of 3"):
        Trainer(configure(optimiser={"accumulate": 3}), tmp_path)


def test_validation_pictures_and_psnr(tmp_path: Path, configure: Configure, data: Path) -> None:
    validation = {"path": str(data / "shards"), "heads": 2, "every": 2, "views": 3, "steps": 1}
    run = tmp_path / "run"
    Trainer(configure(model=PAPER, iterations=2, validation=validation), run).fit()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 2 and 0 < rows[-1]["validation_psnr"] < 40
    with Image.open(run / "validation" / "step-000000002.png") as sheet:
        assert sheet.size == (3 * 32, 2 * 4 * 32)


def test_psnr_and_sheets_are_what_they_say() -> None:
    grey = torch.full((1, 3, 4, 4), 0.5)
    assert psnr(grey, grey + 0.1) == pytest.approx(20.0, abs=1e-4)
    assert psnr(grey, grey) == math.inf
    assert spread_views(16, 4) == [0, 4, 8, 12] and spread_views(3, 8) == [0, 1, 2]
    sheet = contact_sheet([torch.zeros(2, 3, 4, 4), torch.zeros(1, 3, 4, 4)])
    assert sheet.size == (8, 8) and sheet.getpixel((7, 7)) == (255, 255, 255) and sheet.getpixel((7, 0)) == (0, 0, 0)
