"""Arrays of numbers out of what `flame_pickle` read: numpy's, PyTorch's, chumpy's and SciPy's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dface.errors import HeadModelError
from gen3dface.heads.flame_pickle import SPARSE, StoredArray
from gen3dface.inert_pickle import Shell

_DEEPEST = 16  # chumpy objects inside of each other


def to_array(value: object, name: str, depth: int = 0) -> NDArray[Any]:
    """The numbers of an array, a tensor, or one of chumpy's objects (`Ch` and `Select`; Loper, 2014).

    A `Ch` holds its numbers as `x`; a `Select` is `a.ravel()[idxs].reshape(preferred_shape)`.

    Raises:
        HeadModelError: `name` holds no such numbers.
    """
    if isinstance(value, Shell) and depth < _DEEPEST:
        if value.kind == "Ch" and "x" in value.state:
            return to_array(value.state["x"], name, depth + 1)
        if value.kind == "Select" and {"a", "idxs", "preferred_shape"} <= value.state.keys():
            return _selected(value.state, name, depth + 1)
    if isinstance(value, StoredArray):
        value = value.value
    if isinstance(value, (list, tuple, int, float)) and all(
        isinstance(part, (int, float)) for part in (value if isinstance(value, (list, tuple)) else [value])
    ):
        value = np.array(value)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        kind = f"a {value.kind}" if isinstance(value, Shell) else f"a {type(value).__name__}"
        raise HeadModelError(f"{name} is {kind}, not an array of numbers")
    return value


def _selected(state: dict[str, Any], name: str, depth: int) -> NDArray[Any]:
    whole = to_array(state["a"], name, depth).ravel()
    index, shape = to_array(state["idxs"], name, depth), to_array(state["preferred_shape"], name, depth).tolist()
    if index.dtype.kind not in "iu" or (index.size and not (index.min() >= 0 and index.max() < len(whole))):
        raise HeadModelError(f"{name} selects what is not there")
    if not isinstance(shape, list) or math.prod(shape) != index.size or min(shape, default=0) < 0:
        raise HeadModelError(f"{name} is a selection of no shape")
    return whole[index.ravel()].reshape(shape)


def to_dense(value: object, name: str, shape: tuple[int, int]) -> NDArray[Any]:
    """`to_array`, also of SciPy's sparse matrices, whose shape must be the given one."""
    if not isinstance(value, Shell) or value.kind not in SPARSE:
        return to_array(value, name)
    size = value.state.get("_shape", value.state.get("shape"))
    if not isinstance(size, tuple) or size != shape:
        raise HeadModelError(f"{name} has shape {str(size)[:40]}, expected {shape}")
    numbers, inner, starts = (to_array(value.state.get(key), name) for key in ("data", "indices", "indptr"))
    counts: NDArray[Any] = np.diff(starts.astype(np.int64))
    by_column = value.kind == "csc_matrix"
    if (counts < 0).any() or counts.sum() != len(numbers) or len(counts) != shape[by_column]:
        raise HeadModelError(f"{name} is no matrix")
    outer = np.repeat(np.arange(len(counts)), counts)
    rows, columns = (inner, outer) if by_column else (outer, inner)
    return _placed(rows, columns, numbers, name, shape)


def _placed(
    rows: NDArray[Any], columns: NDArray[Any], numbers: NDArray[Any], name: str, shape: tuple[int, int]
) -> NDArray[Any]:
    """A matrix of zeros with `numbers` added at their places."""
    for index, side in ((rows, shape[0]), (columns, shape[1])):
        if index.shape != numbers.shape or index.dtype.kind not in "iu" or numbers.ndim != 1:
            raise HeadModelError(f"{name} is no matrix")
        if index.size and not (index.min() >= 0 and index.max() < side):
            raise HeadModelError(f"{name} has numbers outside of its shape")
    dense = np.zeros(shape)
    np.add.at(dense, (rows, columns), numbers)
    return dense
