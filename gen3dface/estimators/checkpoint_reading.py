"""Reading other estimators' checkpoints: tensors alone, bounded in size, loaded under exactly the expected names."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gen3dface.errors import CheckpointError
from gen3dface.files import holds_more_than_its_size

_MOST_BYTES = 4 << 30
_FEW = 4  # names that a message tells


class _Inert:
    """Stands for what trainers keep beside the weights; it does nothing with its state."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


# numpy's arrays and numbers in a trainer's notes (MICA's validator); nothing reads them
_MENTIONED = tuple(
    f"numpy{inner}.{name}"
    for inner in ("", ".core", "._core")
    for name in ("ndarray", "dtype", "multiarray._reconstruct", "multiarray.scalar")
)


def read_checkpoint(path: str | Path) -> Mapping[str, object]:
    """What torch.save wrote, by name; nothing in the file is executed.

    Raises:
        CheckpointError: the file is missing, too large (4 GiB), packed, damaged, or asks for code.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint at {path}.")
    if path.stat().st_size > _MOST_BYTES:
        raise CheckpointError(f"{path.name} is larger than {_MOST_BYTES >> 30} GiB; that is no checkpoint known here.")
    zipped = zipfile.is_zipfile(path)
    if zipped:
        _require_unpacked(path)
    inert = [(_Inert, name) for name in _MENTIONED]
    try:
        with torch.serialization.safe_globals(inert):  # type: ignore[arg-type]  # (class, name) pairs are allowed
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, error)) from error
    except Exception as error:  # a damaged file raises nearly anything
        raise CheckpointError(f"{path.name} is damaged or no checkpoint: {error}") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path.name} holds a {type(content).__name__}, not tensors by name.")
    return content


def _require_unpacked(path: Path) -> None:
    """torch.save stores without compression: a packed file would be larger in memory than its size says."""
    try:
        packed = holds_more_than_its_size(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise CheckpointError(f"{path.name} is damaged or no checkpoint: {error}") from error
    if packed:
        raise CheckpointError(f"{path.name} is a compressed archive, which torch.save never writes; unpack it first.")


def _refusal(path: Path, error: pickle.UnpicklingError) -> str:
    """Say which code the file asks for."""
    found = re.findall(r"(?:GLOBAL|global) `?([\w.]+)`?", str(error))
    named = ", ".join(dict.fromkeys(found)) or str(error).splitlines()[0]
    return f"{path.name} is refused, and nothing in it was run: beside weights it asks for {named}."


def section(content: Mapping[str, object], name: str, known: Iterable[str], owner: str) -> dict[str, Tensor]:
    """The tensors under `name`, from a checkpoint of which the other sections are `known`.

    Raises:
        CheckpointError: the section is missing, holds something else, or there are sections that nobody knows.
    """
    if name not in content:
        raise CheckpointError(f"{owner}: the checkpoint has no '{name}'; it holds {_some(map(str, content))}.")
    strange = [str(key) for key in content if key not in {name, *known}]
    if strange:
        raise CheckpointError(f"{owner}: the checkpoint holds {_some(strange)}, which is not of this network.")
    inner = content[name]
    if not isinstance(inner, Mapping):
        raise CheckpointError(f"{owner}: '{name}' holds a {type(inner).__name__}, not tensors by name.")
    return tensors_of(inner, f"{owner}: '{name}'")


def tensors_of(content: Mapping[str, object], owner: str) -> dict[str, Tensor]:
    """The same by name, all of them tensors. Raises CheckpointError."""
    others = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise CheckpointError(f"{owner} holds {_some(others)}, which is no tensor.")
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def built(make: Callable[[], nn.Module], tensors: Mapping[str, Tensor], owner: str) -> nn.Module:
    """`make()` with these very weights in float32, in evaluation mode.

    Raises:
        CheckpointError: names are missing, unknown, or of another shape or kind; the message says which.
    """
    with torch.device("meta"):  # the weights that a new network would draw are never needed
        network = make()
    state = network.state_dict()
    missing, strange = [n for n in state if n not in tensors], [n for n in tensors if n not in state]
    if missing or strange:
        parts = [f"{_some(missing)} missing"] * bool(missing) + [f"{_some(strange)} unknown"] * bool(strange)
        raise CheckpointError(f"{owner}: weights do not belong to this network: {'; '.join(parts)}.")
    for name, value in tensors.items():
        if value.shape != state[name].shape or value.is_floating_point() != state[name].is_floating_point():
            raise CheckpointError(
                f"{owner}: {name} is {value.dtype} {list(value.shape)}, expected {state[name].dtype} "
                f"{list(state[name].shape)}."
            )
    own = {name: value.to(state[name].dtype, copy=True) for name, value in tensors.items()}
    network.load_state_dict(own, assign=True)
    return network.eval().requires_grad_(False)


def _some(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - _FEW} more" if len(found) > _FEW else ""
    return (", ".join(found[:_FEW]) or "nothing") + more
