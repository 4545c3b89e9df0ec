"""LPIPS against the paper's formula in plain numpy, and what its reader refuses."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gen3dface.assets import fetch
from gen3dface.errors import CheckpointError
from gen3dface.evaluation import LPIPS

Array = NDArray[np.float64]


def _convolved(x: Array, kernel: Array, bias: Array, stride: int, padding: int) -> Array:
    """x [h, w, in], kernel [k, k, in, out]."""
    x = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
    k = len(kernel)
    patches = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(0, 1))[::stride, ::stride]
    return np.maximum(np.einsum("yxcij,ijco->yxo", patches, kernel) + bias, 0)


def _pooled(x: Array) -> Array:
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))[::2, ::2].max((-2, -1))


def _features(picture: Array, content: dict) -> list[Array]:
    x = ((2 * picture - 1) - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450]
    out = []
    for i, (stride, padding) in enumerate(((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))):
        layer = content["AlexNet_0"][f"Conv_{i}"]
        x = _convolved(_pooled(x) if i in (1, 2) else x, layer["kernel"], layer["bias"], stride, padding)
        out.append(x / np.sqrt((x**2).sum(-1, keepdims=True)).clip(1e-10))
    return out


def test_it_is_the_papers_formula() -> None:
    rng = np.random.default_rng(0)
    first = rng.random((67, 64, 3))
    second = np.clip(first + 0.2 * rng.normal(size=first.shape), 0, 1)
    content = pickle.loads(fetch("lpips_alex").read_bytes())
    expected = sum(
        ((a - b) ** 2 @ content[f"NetLinLayer_{i}"]["Conv_0"]["kernel"].ravel()).mean()
        for i, (a, b) in enumerate(zip(_features(first, content), _features(second, content), strict=True))
    )
    x, y = (torch.from_numpy(p).permute(2, 0, 1)[None].float() for p in (first, second))
    assert LPIPS()(x, y).item() == pytest.approx(expected, rel=1e-4)


def test_a_picture_is_itself_and_small_ones_are_refused() -> None:
    distance = LPIPS()
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4
    assert distance(x, x).tolist() == [0, 0]
    with pytest.raises(ValueError, match="32 px"):
        distance(x[..., :16, :16], x[..., :16, :16])


class _Hostile:
    def __reduce__(self) -> tuple:
        return os.system, ("touch ran",)


def test_a_hostile_file_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "weights.ckpt"
    file.write_bytes(pickle.dumps({"AlexNet_0": _Hostile()}))
    with pytest.raises(CheckpointError, match="system"):
        LPIPS(file)
    assert not (tmp_path / "ran").exists()
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(CheckpointError, match="cannot be read"):
        LPIPS(file)
