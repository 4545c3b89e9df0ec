"""dlib's face recogniser (King, 2017), a residual network of 29 layers, as a differentiable module.

It is for training alone: what is measured with a recogniser must not have been trained with it, so evaluation has
another one (`gen3dface.evaluation.identity`). The weights are public domain, read from two pinned assets in the layout
of TensorFlow.js: a list of arrays, most of them bytes q with value = scale q + min.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dface.assets import fetch
from gen3dface.errors import CheckpointError

CHIP = 150  # px a side of what it looks at
SAME_PERSON = 0.6  # distance under which dlib's author calls two faces one person
_MEAN = (122.782, 117.001, 104.298)  # of the pixels, 0..255
_SPREAD = 256.0
# name, channels in, channels out, whether the resolution is halved
_BLOCKS = (
    *((f"conv32_{i}", 32, 32, False) for i in (1, 2, 3)),
    ("conv64_down", 32, 64, True),
    *((f"conv64_{i}", 64, 64, False) for i in (1, 2, 3)),
    ("conv128_down", 64, 128, True),
    *((f"conv128_{i}", 128, 128, False) for i in (1, 2)),
    ("conv256_down", 128, 256, True),
    *((f"conv256_{i}", 256, 256, False) for i in (1, 2)),
    ("conv256_down_out", 256, 256, True),
)


class FaceRecogniser(nn.Module):
    """Embeddings of faces; two of one person are less than `SAME_PERSON` apart."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Scaled(3, 32, 7, 2, 0)
        self.blocks = nn.ModuleList(_Block(a, b, halves) for _, a, b, halves in _BLOCKS)
        self.out = nn.Linear(256, 128, bias=False)
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self._load(_read(fetch("dlib_face_layout"), fetch("dlib_face")))
        self.requires_grad_(False).eval()

    def forward(self, chips: Tensor) -> Tensor:
        """[R, 128] of faces [R, 3, 150, 150], sRGB in 0..1, upright, the eyes' outer corners at about (37, 46) and
        (111, 46)."""
        x = F.relu(self.stem((255 * chips - self.mean) / _SPREAD))
        x = F.max_pool2d(x, 3, 2)
        for block in self.blocks:
            x = block(x)
        found: Tensor = self.out(x.mean((2, 3)))
        return found

    def _load(self, arrays: dict[str, Tensor]) -> None:
        try:
            self.stem.load(arrays, "conv32_down")
            for (name, *_), block in zip(_BLOCKS, self.blocks, strict=True):
                for part in ("conv1", "conv2"):
                    getattr(block, part).load(arrays, f"{name}/{part}")
            self.out.weight = nn.Parameter(arrays["fc"].T.contiguous())
        except KeyError as error:
            raise CheckpointError(f"The face recogniser's weights lack {error}.") from error


class _Scaled(nn.Conv2d):
    """A convolution, then a scale and a shift of each channel, folded into one."""

    def load(self, arrays: dict[str, Tensor], name: str) -> None:
        """Raises `KeyError` when an array is missing."""
        scale, shift = arrays[f"{name}/scale/weights"], arrays[f"{name}/scale/biases"]
        kernel, bias = arrays[f"{name}/conv/filters"].permute(3, 2, 0, 1), arrays[f"{name}/conv/bias"]
        self.weight = nn.Parameter((kernel * scale[:, None, None, None]).contiguous())
        self.bias = nn.Parameter(bias * scale + shift)


class _Block(nn.Module):
    """relu(f(x) + x); where it halves the resolution, x is averaged, and filled up with zeros to f's size."""

    def __init__(self, inputs: int, outputs: int, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        self.conv1 = _Scaled(inputs, outputs, 3, 2, 0) if halves else _Scaled(inputs, outputs, 3, 1, 1)
        self.conv2 = _Scaled(outputs, outputs, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(F.relu(self.conv1(x)))
        if self.halves:
            x = F.avg_pool2d(x, 2)
        high, wide, deep = (max(out.shape[i], x.shape[i]) for i in (2, 3, 1))
        return F.relu(_filled(out, deep, high, wide) + _filled(x, deep, high, wide))


def _filled(x: Tensor, channels: int, height: int, width: int) -> Tensor:
    return F.pad(x, (0, width - x.shape[3], 0, height - x.shape[2], 0, channels - x.shape[1]))


def _read(layout: Path, weights: Path) -> dict[str, Tensor]:
    """The arrays by name. Both files are pinned by hash; they are read as plain JSON and bytes."""
    data, place, found = np.fromfile(weights, np.uint8), 0, {}
    for entry in (e for group in json.loads(layout.read_text()) for e in group["weights"]):
        count = int(np.prod(entry["shape"]))
        quantised = entry.get("quantization")
        size = count if quantised else 4 * count
        values = data[place : place + size].view(np.uint8 if quantised else np.float32).astype(np.float32)
        if quantised:
            values = values * np.float32(quantised["scale"]) + np.float32(quantised["min"])
        found[entry["name"]] = torch.from_numpy(values.reshape(entry["shape"]))
        place += size
    if place != len(data):
        raise CheckpointError(f"The face recogniser's weights have {len(data)} bytes, their layout {place}.")
    return found
