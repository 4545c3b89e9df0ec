"""LPIPS against the paper's formula in plain numpy, and what its reader refuses."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import skimage
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

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


def _pooled(x: Array, window: int) -> Array:
    return np.lib.stride_tricks.sliding_window_view(x, (window, window), axis=(0, 1))[::2, ::2].max((-2, -1))


def _normalised(picture: Array) -> Array:
    return ((2 * picture - 1) - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450]


def _unit(x: Array) -> Array:
    return x / np.sqrt((x**2).sum(-1, keepdims=True)).clip(1e-10)


def _alex(picture: Array, content: dict) -> list[Array]:
    x, out = _normalised(picture), []
    for i, (stride, padding) in enumerate(((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))):
        layer = content["AlexNet_0"][f"Conv_{i}"]
        x = _convolved(_pooled(x, 3) if i in (1, 2) else x, layer["kernel"], layer["bias"], stride, padding)
        out.append(_unit(x))
    return out


def _vgg(picture: Array, content: dict) -> list[Array]:
    """Configuration D of Simonyan and Zisserman (2015): features after the last layer before each pooling."""
    x, out, layers = _normalised(picture), [], iter(content["VGG16_0"][f"Conv_{i}"] for i in range(13))
    for block in (2, 2, 3, 3, 3):
        for layer in [next(layers) for _ in range(block)]:
            x = _convolved(x, layer["kernel"], layer["bias"], 1, 1)
        out.append(_unit(x))
        x = _pooled(x, 2)
    return out


@pytest.mark.parametrize(("net", "features"), [("alex", _alex), ("vgg", _vgg)])
def test_it_is_the_papers_formula(net: Literal["alex", "vgg"], features: Callable[..., list[Array]]) -> None:
    rng = np.random.default_rng(0)
    first = rng.random((37, 34, 3)) if net == "vgg" else rng.random((67, 64, 3))
    second = np.clip(first + 0.2 * rng.normal(size=first.shape), 0, 1)
    content = pickle.loads(fetch(f"lpips_{net}").read_bytes())
    expected = sum(
        ((a - b) ** 2 @ content[f"NetLinLayer_{i}"]["Conv_0"]["kernel"].ravel()).mean()
        for i, (a, b) in enumerate(zip(features(first, content), features(second, content), strict=True))
    )
    x, y = (torch.from_numpy(p).permute(2, 0, 1)[None].float() for p in (first, second))
    assert LPIPS(net=net)(x, y).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_it_is_symmetric_and_grows_with_blur(net: Literal["alex", "vgg"]) -> None:
    photo = skimage.data.astronaut()[:128, 160:288]
    blurred = [gaussian_filter(photo, (sigma, sigma, 0)) for sigma in (0, 1, 2, 4)]
    x = torch.from_numpy(np.stack(blurred)).permute(0, 3, 1, 2) / 255
    distance, sharp = LPIPS(net=net), x[:1].expand_as(x)
    found = distance(sharp, x).tolist()
    assert found[0] == 0 and found == sorted(found) and found[1] > 0.01
    assert distance(x, sharp).tolist() == pytest.approx(found, rel=1e-5)


def test_weights_of_the_other_net_are_refused() -> None:
    with pytest.raises(CheckpointError, match="cannot be read as LPIPS weights"):
        LPIPS(fetch("lpips_alex"), net="vgg")


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
