"""Reading checkpoints from elsewhere: weights alone, nothing in the file is executed."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from gen3dface.errors import CheckpointError

_BYTES_LIMIT = 32 << 30
_BLOCK = 1 << 22


class _Inert:
    """Stands for a class that training frameworks mention beside the weights; it does nothing with its state."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


# mentioned in Lightning's checkpoints as keys or settings; replaced by something that cannot act
_MENTIONED = (
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint",
    "pytorch_lightning.utilities.parsing.AttributeDict",
)


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name: .safetensors, or what torch.save wrote (`state_dict` inside it, if any).

    Raises:
        CheckpointError: the file is missing, too large, damaged, names code that would have to run, or holds no
            tensors. The message names what was refused.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint at {path}.")
    if path.stat().st_size > _BYTES_LIMIT:
        raise CheckpointError(f"{path.name} is larger than {_BYTES_LIMIT >> 30} GiB; that is no checkpoint known here.")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    inner = content.get("state_dict", content)
    tensors = {str(k): v for k, v in inner.items() if isinstance(v, Tensor)} if isinstance(inner, Mapping) else {}
    if not tensors:
        raise CheckpointError(f"{path.name} holds no tensors by name, neither at its top nor under 'state_dict'.")
    return tensors


def _read_safetensors(path: Path) -> Mapping[str, object]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path.name} is no readable safetensors file: {error}") from error


def _read_torch(path: Path) -> Mapping[str, object]:
    inert = [(_Inert, name) for name in _MENTIONED]
    try:
        with torch.serialization.safe_globals(inert):  # type: ignore[arg-type]  # (class, name) pairs are allowed
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, error)) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, AttributeError, TypeError, IndexError) as error:
        raise CheckpointError(f"{path.name} is damaged or no checkpoint: {error}") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path.name} holds a {type(content).__name__}, not tensors by name.")
    return content


def _refusal(path: Path, error: pickle.UnpicklingError) -> str:
    """Say which code the file asks for."""
    found = re.findall(r"(?:GLOBAL|global) `?([\w.]+)`?", str(error))
    named = ", ".join(dict.fromkeys(found)) or str(error).splitlines()[0]
    return f"{path.name} is refused, and nothing in it was run: beside weights it asks for {named}."
