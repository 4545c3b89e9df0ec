"""Checkpoints that are whole or not there.

One is written into a folder with a temporary name, flushed to the disk file by file, and renamed; only then is it a
checkpoint. What a killed run left half-written is removed when the next one starts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gen3dface.errors import CheckpointError, OutputError
from gen3dface.files import write_failure

_NAME = re.compile(r"step-(\d{9})")
_PROGRESS, _EMA = "progress.json", "ema.safetensors"


@dataclass(frozen=True)
class Progress:
    """How far a run is. `step`: finished steps of the optimiser. `seconds`: spent on them, pauses left out."""

    step: int = 0
    seconds: float = 0.0


class Checkpoints:
    """The checkpoints of a run.

    Args:
        folder: that holds them and nothing else. keep: the newest so many stay.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep

    def whole(self) -> list[Path]:
        """All checkpoints, the newest last."""
        found = self.folder.iterdir() if self.folder.is_dir() else []
        return sorted(path for path in found if _NAME.fullmatch(path.name))

    def save(self, accelerator: Accelerator, progress: Progress, ema: dict[str, Tensor]) -> None:
        """Write a checkpoint; all processes call this together.

        Raises:
            OutputError: the folder cannot be written, or the disk is full. The older checkpoints are still there.
        """
        final = self.folder / f"step-{progress.step:09d}"
        temporary = self.folder / f".{final.name}.tmp"
        try:
            if accelerator.is_main_process:
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir(parents=True)
            accelerator.wait_for_everyone()
            accelerator.save_state(str(temporary))
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                if ema:
                    save_file(ema, temporary / _EMA)
                (temporary / _PROGRESS).write_text(json.dumps(asdict(progress)))
                _flush(temporary)
                shutil.rmtree(final, ignore_errors=True)
                os.replace(temporary, final)
                _flush(self.folder)
                self._prune()
        except OSError as error:
            raise OutputError(write_failure(final, error)) from error
        accelerator.wait_for_everyone()

    def load(self, accelerator: Accelerator) -> tuple[Progress, dict[str, Tensor]] | None:
        """Bring the run to its newest checkpoint; the moving average is returned. None: there is none.

        Raises:
            CheckpointError: it cannot be read.
        """
        found = self.whole()
        if not found:
            return None
        newest = found[-1]
        try:
            progress = Progress(**json.loads((newest / _PROGRESS).read_text()))
            ema = load_file(newest / _EMA) if (newest / _EMA).exists() else {}
            accelerator.load_state(str(newest))
        except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(
                f"The checkpoint {newest} cannot be read: {error}. Delete it to go on from the one before."
            ) from error
        return progress, ema

    def clean(self) -> None:
        """Remove what a killed run left half-written."""
        for path in self.folder.glob(".*.tmp") if self.folder.is_dir() else []:
            shutil.rmtree(path, ignore_errors=True)

    def _prune(self) -> None:
        for path in self.whole()[: -self.keep]:
            # renamed first: a half-deleted checkpoint must not look whole
            doomed = path.with_name(f".{path.name}.tmp")
            os.replace(path, doomed)
            shutil.rmtree(doomed, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Everything in a folder, and the folder itself, to the disk."""
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
