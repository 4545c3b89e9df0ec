"""Training processes as processes: two share a step as one does it alone, and one is killed again and again."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.training.conftest import settings

ROOT = Path(__file__).parents[2]
_LIMIT = 1800  # seconds after which a process counts as stuck


def _environment(**more: str) -> dict[str, str]:
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    quiet = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, "PYTHONPATH": paths, **quiet, **more}


def _config(folder: Path, path: Path, /, **changes: Any) -> Path:
    path.write_text(yaml.safe_dump(settings(folder, **changes)))
    return path


def _gloo(processes: int, arguments: list[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    command = [sys.executable, str(Path(__file__).with_name("gloo_worker.py")), *arguments]
    running = [
        subprocess.Popen(
            command,
            env=_environment(**(places | {"RANK": str(i), "LOCAL_RANK": str(i)} if processes > 1 else {})),
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(processes)
    ]
    try:
        for process in running:
            _, complaint = process.communicate(timeout=_LIMIT)
            assert process.returncode == 0, complaint[-3000:]
    finally:
        for process in running:
            process.kill()


def test_two_processes_give_the_gradients_of_one(data: Path, tmp_path: Path) -> None:
    """Two heads: together, and one in each process, batch norm's statistics and the losses of two steps included."""
    config = _config(data, tmp_path / "run.yaml", iterations=2)
    found = {}
    for count in (1, 2):
        out = tmp_path / f"{count}.pt"
        _gloo(count, [str(config), str(tmp_path / f"run{count}"), str(out)])
        found[count] = torch.load(out, weights_only=True)
    assert [found[1]["heads"], found[2]["heads"]] == [2, 1]
    alone, shared = found[1]["gradients"], found[2]["gradients"]
    assert alone.keys() == shared.keys()
    size = max(g.abs().max().item() for g in alone.values())
    for name, gradient in alone.items():
        torch.testing.assert_close(
            shared[name], gradient, rtol=1e-3, atol=1e-6 * size, msg=lambda m, n=name: f"{n}: {m}"
        )
    torch.testing.assert_close(found[2]["norms"], found[1]["norms"], rtol=1e-4, atol=1e-6)
    assert any(n.abs().max() > 0 for n in found[1]["norms"].values())
    losses = [_losses(tmp_path / f"run{count}") for count in (1, 2)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def _losses(run: Path) -> list[float]:
    rows = (run / "metrics.jsonl").read_text().splitlines() if (run / "metrics.jsonl").exists() else []
    return [json.loads(row)["loss"] for row in rows if row.endswith("}")]


def _start(config: Path, run: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "gen3dface.train", "--config", str(config), "-o", str(run)]
    return subprocess.Popen(command, env=_environment(), stderr=subprocess.PIPE, text=True)


def _finish(config: Path, run: Path) -> None:
    process = _start(config, run)
    _, complaint = process.communicate(timeout=_LIMIT)
    assert process.returncode == 0, complaint[-3000:]


def test_a_run_killed_at_random_moments_is_the_unbroken_run(data: Path, tmp_path: Path) -> None:
    """SIGKILL after a random step, twice; the same command again. Losses and weights are equal bit for bit."""
    changes: dict[str, Any] = {"data": {"workers": 1}, "checkpoint": {"steps": 3, "keep": 1}}
    config = _config(data, tmp_path / "run.yaml", iterations=10, **changes)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    _finish(config, whole)
    moments = random.Random(5)
    for last in (moments.randint(1, 5), moments.randint(6, 9)):
        process = _start(config, broken)
        ends = time.monotonic() + _LIMIT
        while len(_losses(broken)) < last and process.poll() is None and time.monotonic() < ends:
            time.sleep(0.02)
        time.sleep(moments.random() * 0.3)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert len(_losses(broken)) < 10
    _finish(config, broken)
    assert _losses(broken) == _losses(whole)
    for name in ("model.safetensors", "ema.safetensors"):
        parts = [run / "checkpoints" / "step-000000010" / name for run in (whole, broken)]
        assert parts[0].read_bytes() == parts[1].read_bytes()
    for part in ("unet", "conditioner", "image_encoder"):
        files = [next((run / "pipeline" / part).glob("*.safetensors")) for run in (whole, broken)]
        assert files[0].read_bytes() == files[1].read_bytes()
