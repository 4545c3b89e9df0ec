"""A Portrait in one safetensors file: stages can run apart, and nothing in the file can run."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from gen3dface.errors import PortraitError
from gen3dface.files import safetensors_note, write_atomically
from gen3dface.photo.portrait import Portrait

FORMAT = "gen3dface.portrait.2"
MAX_BYTES = 1 << 30
_H, _W = -1, -2  # any height and width, the same in every array
_LAYOUT: dict[str, tuple[tuple[int, ...], type]] = {
    "image": ((_H, _W, 3), np.uint8),
    "matte": ((_H, _W), np.float32),
    "parts": ((_H, _W), np.uint8),
    "landmarks": ((478, 3), np.float32),
    "blendshapes": ((52,), np.float32),
    "box": ((4,), np.float64),
}


def save_portrait(portrait: Portrait, path: str | PathLike[str]) -> None:
    """Write to path (.safetensors by custom), whole or not at all. Raises OutputError."""
    write_atomically(path, portrait_bytes(portrait))


def portrait_bytes(portrait: Portrait) -> bytes:
    """The safetensors file that save_portrait writes."""
    arrays: dict[str, NDArray[np.generic]] = {
        name: np.ascontiguousarray(getattr(portrait, name), kind) for name, (_, kind) in _LAYOUT.items()
    }
    note = {"score": portrait.score, "source": portrait.source, "warnings": portrait.warnings, "focal": portrait.focal}
    # one value: safetensors writes several in an order that changes from run to run
    return save(arrays, {"portrait": json.dumps({"format": FORMAT, **note})})


def load_saved_portrait(path: str | PathLike[str]) -> Portrait:
    """Read what save_portrait wrote. Raises PortraitError when it is anything else."""
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise PortraitError(f"{path}: larger than {MAX_BYTES >> 20} MiB, so no portrait")
        data = Path(path).read_bytes()
    except OSError as error:
        raise PortraitError(f"{path}: not a readable portrait ({error})") from error
    return portrait_from_bytes(data, str(path))


def portrait_from_bytes(data: bytes, name: str) -> Portrait:
    """Read what portrait_bytes made; name is for messages. Raises PortraitError when it is anything else."""
    try:
        note = safetensors_note(data, "portrait")
        arrays = load(data)
        if note.get("format") != FORMAT or set(arrays) != set(_LAYOUT):
            raise PortraitError(f"{name}: no portrait saved by this version ({FORMAT}); save it again")
        return _portrait(arrays, note)
    except PortraitError:
        raise
    except Exception as error:  # a damaged file raises nearly anything
        raise PortraitError(f"{name}: not a readable portrait ({error})") from error


def _portrait(arrays: dict[str, NDArray[np.generic]], note: dict[str, object]) -> Portrait:
    height, width = arrays["image"].shape[:2]
    for name, (shape, kind) in _LAYOUT.items():
        expected = tuple({_H: height, _W: width}.get(side, side) for side in shape)
        if arrays[name].shape != expected or arrays[name].dtype != kind:
            found = f"{arrays[name].dtype} {arrays[name].shape}"
            raise ValueError(f"{name} is {found}, expected {kind.__name__} {expected}")
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} holds NaN or infinite values")
    box = tuple(float(edge) for edge in arrays.pop("box"))
    warnings = [str(warning) for warning in note["warnings"]]  # type: ignore[attr-defined]
    score, focal = float(note["score"]), note["focal"]  # type: ignore[arg-type]
    focal = None if focal is None else float(focal)  # type: ignore[arg-type]
    if not (np.isfinite(score) and (focal is None or 0 < focal < np.inf)):
        raise ValueError(f"score {score} and focal length {focal} px cannot be")
    return Portrait(box=box, score=score, source=str(note["source"]), warnings=warnings, focal=focal, **arrays)  # type: ignore[arg-type]
