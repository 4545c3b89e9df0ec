"""Official generators' pickles as plain values: nothing in them is imported or executed.

They hold the source code of their classes and run it when they are loaded. Here a class is an inert shell that keeps
its state, the code is left lying, and whatever is not on the list below is refused by its name.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from gen3dface.errors import CheckpointError
from gen3dface.inert_pickle import Sealed, SealedCallable, Shell

MOST_BYTES = 8 << 30
_FIRST_PUTS = 255  # a memo's numbers that cost nothing
_SHELLS = ("training.", "torch_utils.", "torch.nn.modules.")  # whose classes are kept as shells


class _NumpyType:
    """`numpy.dtype(code)`, its byte order being little as on every machine that made such a file."""

    def __init__(self, code: object, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        pass


def read_pickle(path: Path) -> Any:
    """What a pickle holds: dictionaries, lists, numbers, texts, `StoredTensor`s, and `Shell`s for everything else.

    Raises:
        CheckpointError: it cannot be read, is damaged or too large, or asks for something that is not on the list.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise CheckpointError(f"'{path}' has {path.stat().st_size:,} bytes, at most {MOST_BYTES:,} are read.")
        with open(path, "rb") as file:
            _check_memo(file)
            file.seek(0)
            return _Reader(file).load()
    except CheckpointError as error:
        raise CheckpointError(f"'{path}': {error}") from error
    except (OSError, EOFError, pickle.UnpicklingError, RecursionError, MemoryError) as error:
        raise CheckpointError(f"'{path}' cannot be read as a pickle: {error}") from error
    except Exception as error:  # damaged bytes fail in whatever way the values that they name fail
        raise CheckpointError(f"'{path}' is damaged: {error!r}") from error


def _check_memo(file: BinaryIO) -> None:
    """The memo is a table up to its largest number, whatever is in it: five bytes could ask for gigabytes."""
    count, largest = 0, 0
    for opcode, argument, _ in pickletools.genops(file):
        count += 1
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            largest = max(largest, int(argument or 0))
    if largest > count + _FIRST_PUTS:
        raise CheckpointError(f"its memo's numbers go up to {largest:,} in {count:,} steps; it may be malicious")


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = _KNOWN.get((module, name))
        if found is not None:
            return found
        if f"{module}.".startswith(_SHELLS) and name.isidentifier() and not name.startswith("_"):
            return type(name, (Shell,), {})
        raise CheckpointError(f"it asks for {module}.{name}, which no generator needs; it may be malicious")


def _persistent(meta: object) -> Shell:
    """An object whose class comes as source code: its state alone."""
    if not isinstance(meta, dict) or meta.get("type") != "class":
        raise CheckpointError("an object of unknown making is in it")
    shell = Shell()
    shell.__setstate__(meta.get("state"))
    return shell


class StoredTensor(Sealed):
    """A tensor that was not built yet: a storage, an offset, sizes and strides."""

    __slots__ = ()

    def tensor(self) -> Tensor:
        """The values. Raises `CheckpointError` when they lie outside of the storage, or on each other."""
        storage, offset, size, stride = self.value
        numbers = [offset, *size, *stride]
        if len(size) != len(stride) or not all(isinstance(n, int) and n >= 0 for n in numbers):
            raise CheckpointError("a tensor of no shape is in it")
        spans = [(n - 1) * step for n, step in zip(size, stride, strict=True)]
        stays = any(n > 1 and step == 0 for n, step in zip(size, stride, strict=True))
        whole = torch.tensor([], dtype=storage.dtype).set_(storage._untyped_storage)
        if stays or math.prod(size) > len(whole) or (min(size, default=1) and offset + sum(spans) >= len(whole)):
            raise CheckpointError("a tensor is larger than its data")
        return whole.as_strided(size, stride, offset)


def _storage(data: object) -> Sealed:
    if not isinstance(data, bytes):
        raise CheckpointError("a tensor's data are no bytes")
    if data[:2] == b"PK":  # these pickles' tensors never are archives, which may inflate to any size
        raise CheckpointError("a tensor's data are an archive; it may be malicious")
    found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    if not isinstance(found, torch.storage.TypedStorage):
        raise CheckpointError("a tensor's data are no storage")
    return Sealed(found)


def _tensor(storage: object, offset: object, size: object, stride: object, *_: object) -> StoredTensor:
    if not isinstance(storage, Sealed) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise CheckpointError("a tensor of no shape is in it")
    return StoredTensor((storage.value, offset, size, stride))


def _parameter(data: object, *_: object) -> StoredTensor:
    if not isinstance(data, StoredTensor):
        raise CheckpointError("a parameter is no tensor")
    return data


def _scalar(kind: object, data: object) -> float | int | bool:
    code = kind.code if isinstance(kind, _NumpyType) else None
    if not isinstance(code, str) or code[:1] not in "biuf" or not isinstance(data, (bytes, str)):
        raise CheckpointError("a number of an unknown kind is in it")
    raw = data.encode("latin1") if isinstance(data, str) else data
    number = np.frombuffer(raw, code)[0].item()
    if not isinstance(number, (bool, int, float)):
        raise CheckpointError("a number of an unknown kind is in it")
    return number


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): dict,  # which takes no attributes
    ("dnnlib.util", "EasyDict"): dict,
    ("dnnlib", "EasyDict"): dict,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): SealedCallable(_persistent),
    ("torch._utils", "_rebuild_parameter"): SealedCallable(_parameter),
    ("torch._utils", "_rebuild_tensor_v2"): SealedCallable(_tensor),
    ("torch.storage", "_load_from_bytes"): SealedCallable(_storage),
    ("numpy", "dtype"): _NumpyType,
    ("numpy.core.multiarray", "scalar"): SealedCallable(_scalar),
    ("numpy._core.multiarray", "scalar"): SealedCallable(_scalar),
}
