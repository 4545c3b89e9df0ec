"""FLAME's pickles as plain arrays: nothing in them is imported or executed, and chumpy is not needed.

The files were written by Python 2: dictionaries of numpy arrays, SciPy's sparse matrices and chumpy's objects. Each
class becomes an inert shell that keeps its state. Whatever is not on the list below is refused by its name.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray

from gen3dface.errors import HeadModelError
from gen3dface.files import holds_more_than_its_size
from gen3dface.inert_pickle import Sealed, SealedCallable, Shell

MOST_BYTES = 1 << 30
_NUMBERS = re.compile(r"[biuf][1248]|f16|\?")
_TEXTS = re.compile(r"[SU][1-9]\d{0,5}")
_OBJECTS = ("O", "O4", "O8")
SPARSE = ("csc_matrix", "csr_matrix")


class _NumpyType:
    """`numpy.dtype(code)` with the byte order that its state names."""

    def __init__(self, code: object, *_: object) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise HeadModelError("an array of an unknown kind is in it")
        self.order = ">" if state[1] == ">" else "<"

    @property
    def is_object(self) -> bool:
        return self.code in _OBJECTS

    def dtype(self) -> np.dtype:
        """The plain numeric or text type. Raises `HeadModelError` when it is anything else."""
        code = self.code
        if not isinstance(code, str) or not (_NUMBERS.fullmatch(code) or _TEXTS.fullmatch(code)):
            raise HeadModelError(f"an array of kind {str(code)[:20]!r} is in it")
        return np.dtype(code).newbyteorder(">" if self.order == ">" else "<")


class StoredArray:
    """A numpy array, or the list of what an array of objects held."""

    value: NDArray[Any] | list[Any]

    def __init__(self) -> None:
        self.value = []

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise HeadModelError("an array without contents is in it")
        shape, kind, fortran, raw = state[-4:]
        self.value = _array(shape, kind, bool(fortran), raw)


def _array(shape: object, kind: object, fortran: bool, raw: object) -> NDArray[Any] | list[Any]:
    """What `raw` holds, if it fills `shape` exactly."""
    if not isinstance(kind, _NumpyType) or not isinstance(shape, tuple) or len(shape) > 8:
        raise HeadModelError("an array of no shape is in it")
    if not all(type(side) is int and side >= 0 for side in shape):
        raise HeadModelError("an array of no shape is in it")
    if kind.is_object:
        if not isinstance(raw, list) or len(raw) != math.prod(shape):
            raise HeadModelError("an array of objects is larger than its data")
        return raw
    data, dtype = raw.encode("latin1") if isinstance(raw, str) else raw, kind.dtype()
    if not isinstance(data, (bytes, bytearray)) or len(data) != math.prod(shape) * dtype.itemsize:
        raise HeadModelError("an array is larger than its data")
    return np.frombuffer(bytes(data), dtype).reshape(shape, order="F" if fortran else "C")


def _from_buffer(data: object, kind: object, shape: object, order: object) -> StoredArray:
    array = StoredArray()
    array.value = _array(shape, kind, order == "F", data)
    return array


def _scalar(kind: object, data: object) -> float | int | bool:
    found = _array((1,), kind, False, data)
    if isinstance(found, list) or found.dtype.kind not in "biuf":
        raise HeadModelError("a number of an unknown kind is in it")
    number: float | int | bool = found[0].item()
    return number


def _encode(text: object, encoding: object = "latin1") -> bytes:
    """How Python 3 writes bytes in Python 2's format."""
    if not isinstance(text, str) or encoding != "latin1":
        raise HeadModelError("a text in an unknown encoding is in it")
    return text.encode("latin1")


def _reconstructor(kind: object, *_: object) -> Shell:
    """How Python 2 made objects before there was a better way."""
    if not isinstance(kind, type) or not issubclass(kind, Shell):
        raise HeadModelError("an object of unknown making is in it")
    return kind()


def _storage(data: object) -> Sealed:
    if not isinstance(data, bytes):
        raise HeadModelError("a tensor's data are no bytes")
    if data.startswith(b"PK") or zipfile.is_zipfile(io.BytesIO(data)):
        _require_unpacked(data)
    found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    if not isinstance(found, torch.storage.TypedStorage):
        raise HeadModelError("a tensor's data are no storage")
    if found._untyped_storage.nbytes() > len(data):
        raise HeadModelError("a tensor is larger than its data")
    return Sealed(torch.tensor([], dtype=found.dtype).set_(found._untyped_storage).numpy())


def _require_unpacked(data: bytes) -> None:
    try:
        packed = holds_more_than_its_size(io.BytesIO(data))
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise HeadModelError(f"a tensor's data are damaged: {error}") from error
    if packed:
        raise HeadModelError("a tensor's data are a compressed archive, which torch.save never writes")


def _tensor(storage: object, offset: object, size: object, stride: object, *_: object) -> StoredArray:
    """A PyTorch tensor that lies in its storage without gaps."""
    if not isinstance(storage, Sealed) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise HeadModelError("a tensor of no shape is in it")
    if not all(type(number) is int and number >= 0 for number in (offset, *size)) or not isinstance(offset, int):
        raise HeadModelError("a tensor of no shape is in it")
    whole, count = storage.value, math.prod(size)
    if stride != tuple(math.prod(size[axis + 1 :]) for axis in range(len(size))) or offset + count > len(whole):
        raise HeadModelError("a tensor does not fit its data")
    array = StoredArray()
    array.value = whole[offset : offset + count].reshape(size)
    return array


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): dict,
    ("_codecs", "encode"): SealedCallable(_encode),
    ("numpy", "dtype"): _NumpyType,
    ("numpy", "ndarray"): Sealed("ndarray"),
    ("torch._utils", "_rebuild_tensor_v2"): SealedCallable(_tensor),
    ("torch.storage", "_load_from_bytes"): SealedCallable(_storage),
}
for _core in ("numpy.core", "numpy._core"):
    _KNOWN[f"{_core}.multiarray", "_reconstruct"] = SealedCallable(lambda *_: StoredArray())
    _KNOWN[f"{_core}.multiarray", "scalar"] = SealedCallable(_scalar)
    _KNOWN[f"{_core}.numeric", "_frombuffer"] = SealedCallable(_from_buffer)
for _builtins in ("__builtin__", "builtins"):
    _KNOWN[_builtins, "object"] = Sealed("object")
    _KNOWN[_builtins, "set"] = SealedCallable(set)
for _copying in ("copy_reg", "copyreg"):
    _KNOWN[_copying, "_reconstructor"] = SealedCallable(_reconstructor)


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = _KNOWN.get((module, name))
        if found is not None:
            return found
        chumpy = f"{module}.".startswith("chumpy.") and name.isidentifier() and not name.startswith("_")
        if chumpy or (module.startswith("scipy.sparse.") and name in SPARSE):
            return type(name, (Shell,), {"kind": name})
        raise HeadModelError(f"it asks for {module}.{name}, which no such file needs; it may be malicious")


def read_pickle(path: Path) -> Any:
    """What a pickle holds: dictionaries, lists, numbers, texts, `StoredArray`s, and `Shell`s for everything else.

    Raises:
        HeadModelError: it cannot be read, is damaged or too large, or asks for something that is not on the list.
    """
    try:
        check_size(path)
        with open(path, "rb") as file:
            return load_pickle(file)
    except HeadModelError as error:
        raise HeadModelError(f"'{path}': {error}") from error
    except OSError as error:
        raise HeadModelError(f"'{path}' cannot be read: {error.strerror or error}.") from error


def load_pickle(file: IO[bytes]) -> Any:
    """`read_pickle` of an open file."""
    try:
        return _Reader(file, encoding="latin1").load()
    except (HeadModelError, OSError):
        raise
    except Exception as error:  # damaged bytes fail in whatever way the values that they name fail
        raise HeadModelError(f"it is damaged, or no pickle: {error!r}") from error


def check_size(path: Path) -> None:
    """Raise `HeadModelError` where a file is larger than any that is read here; OSError where there is none."""
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise HeadModelError(f"it has {size:,} bytes, at most {MOST_BYTES:,} are read")
