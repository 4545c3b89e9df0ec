"""What a run leaves on the disk beside its checkpoints: its configuration, versions, data hash and figures."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml
from filelock import FileLock, Timeout

from gen3dface.errors import ConfigError, DataError, OutputError
from gen3dface.files import write_atomically, write_failure
from gen3dface.training.config import TrainConfig
from gen3dface.training.sources import Source, data_hash

_PACKAGES = ("gen3dface", "torch", "accelerate", "diffusers", "transformers", "safetensors", "numpy", "webdataset")
# what may change when a run is gone on with: nothing of it touches what is learned
_FREE = ("max_minutes", "log", "checkpoint", "validation", "gradient_checkpointing")
_FREE_DATA = ("cache", "workers")


class RunFolder:
    """`config.yaml`, `versions.json`, `data.json`, `metrics.jsonl`, `validation/`, `checkpoints/`, `pipeline/`."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._lock = FileLock(self.folder / ".lock", is_singleton=True)
        self.checkpoints = self.folder / "checkpoints"
        self.pipeline = self.folder / "pipeline"
        self.pictures = self.folder / "validation"
        self.metrics = self.folder / "metrics.jsonl"

    def begin(self, config: TrainConfig, sources: Sequence[Source]) -> None:
        """Write down what the run is, or check that it is still the same run.

        Raises:
            ConfigError: the folder holds a run with another configuration.
            DataError: it was trained on other data.
            OutputError: another process trains in it at this moment, or it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(blocking=False)  # until the process ends, however it ends
        except Timeout as error:
            raise OutputError(f"Another process trains in {self.folder}; wait for its end or stop it.") from error
        except OSError as error:
            raise OutputError(write_failure(self.folder, error)) from error
        path, data = self.folder / "config.yaml", self.folder / "data.json"
        found = {
            "hash": data_hash(sources),
            "samples": [len(s) for s in sources],
            "licences": sorted({n for s in sources for n in s.licences}),
        }
        if path.exists() and data.exists():
            self._check(TrainConfig.model_validate(yaml.safe_load(path.read_text())), config)
            if json.loads(data.read_text())["hash"] != found["hash"]:
                raise DataError(f"The run in {self.folder} was begun on other data; choose another folder.")
        write_atomically(self.folder / "versions.json", json.dumps(versions(), indent=1).encode())
        write_atomically(data, json.dumps(found, indent=1).encode())
        write_atomically(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())

    def _check(self, before: TrainConfig, now: TrainConfig) -> None:
        old, new = _binding(before), _binding(now)
        changed = sorted(name for name in old if old[name] != new.get(name))
        if changed:
            raise ConfigError(
                f"The run in {self.folder} was begun with other values of {', '.join(changed)}; "
                "give it the same configuration again, or choose another folder."
            )

    def log(self, row: dict[str, Any]) -> None:
        """Add a line to `metrics.jsonl`."""
        with open(self.metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def rewind(self, step: int) -> None:
        """Forget the figures of steps after `step`: they are computed again."""
        if not self.metrics.exists():
            return
        rows = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                keep = json.loads(line)["step"] <= step
            except (ValueError, KeyError):  # the last line of a killed run
                keep = False
            if keep:
                rows.append(line + "\n")
        write_atomically(self.metrics, "".join(rows).encode())


def versions() -> dict[str, str]:
    """Of Python, the device and the packages that matter."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    found["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "cpu"
    return found


def _binding(config: TrainConfig) -> dict[str, Any]:
    """The values that a run must keep."""
    data = config.model_dump(mode="json", exclude=set(_FREE))
    for name in _FREE_DATA:
        del data["data"][name]
    for source in data["data"]["sources"]:
        del source["path"]  # the data's hash tells whether it is the same
    return data
