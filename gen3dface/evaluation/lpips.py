"""LPIPS, the learned perceptual distance of two pictures (Zhang et al., 2018, "The Unreasonable Effectiveness of Deep
Features as a Perceptual Metric"), version 0.1 on the features of AlexNet or VGG16.

The usual package needs torchvision, which this one does without; its weights are read from pinned assets.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dface.assets import fetch
from gen3dface.errors import CheckpointError

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of the pictures in -1..1
_SMALLEST = 32  # px a side
_ALLOWED = {"multiarray._reconstruct": "_reconstruct", "ndarray": "ndarray", "dtype": "dtype"}


@dataclass(frozen=True)
class _Net:
    """A stack of convolutions, each followed by a rectifier."""

    asset: str
    scope: str  # its name in the asset
    layers: tuple[tuple[int, int, int, int], ...]  # out channels, kernel, stride, padding
    pooled: tuple[int, ...]  # layers that pooling comes before
    window: int  # px a side of the pooling, whose stride is 2
    compared: tuple[int, ...]  # layers whose features are compared


_NETS = {
    "alex": _Net(
        "lpips_alex",
        "AlexNet_0",
        ((64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1)),
        pooled=(1, 2),
        window=3,
        compared=(0, 1, 2, 3, 4),
    ),
    "vgg": _Net(
        "lpips_vgg",
        "VGG16_0",
        tuple((channels, 3, 1, 1) for channels in (*[64] * 2, *[128] * 2, *[256] * 3, *[512] * 6)),
        pooled=(2, 4, 7, 10),
        window=2,
        compared=(1, 3, 6, 9, 12),
    ),
}


class LPIPS(nn.Module):
    """d(x, y) = sum_l mean_hw  w_l . (f_l(x) - f_l(y))^2, features f_l of unit length over their channels (eq. 1).

    Args:
        weights: a file in the layout of the assets "lpips_alex" and "lpips_vgg" (default: the net's asset).
        net: "alex", or "vgg", which papers on faces and new views report more often. Their numbers do not compare.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, weights: Path | None = None, net: Literal["alex", "vgg"] = "alex") -> None:
        super().__init__()
        self._net = _NETS[net]
        inputs = [3, *(channels for channels, *_ in self._net.layers)]
        self.features = nn.ModuleList(
            nn.Conv2d(a, b, kernel, stride, padding)
            for a, (b, kernel, stride, padding) in zip(inputs, self._net.layers, strict=False)
        )
        self.weights = nn.ParameterList(torch.zeros(self._net.layers[i][0]) for i in self._net.compared)
        self.register_buffer("shift", torch.tensor(_SHIFT).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE).view(3, 1, 1), persistent=False)
        self._load(weights or fetch(self._net.asset))
        self.requires_grad_(False).eval()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances [B] of pictures [B, 3, H, W] in 0..1 sRGB, 32 pixels or more a side."""
        if min(first.shape[-2:]) < _SMALLEST or first.shape != second.shape:
            raise ValueError(f"LPIPS compares pictures of one size, 32 px or more, got {first.shape}, {second.shape}.")
        total = first.new_zeros(len(first))
        for x, y, weight in zip(self._compared(first), self._compared(second), self.weights, strict=True):
            apart = (_unit(x) - _unit(y)) ** 2
            total = total + torch.einsum("bchw,c->bhw", apart, weight).mean((1, 2))
        return total

    def _compared(self, pictures: Tensor) -> Iterator[Tensor]:
        """The features [B, C, h, w] of the layers that are compared, one after the other."""
        x = ((2 * pictures - 1) - self.shift) / self.scale
        for index, layer in enumerate(self.features):
            x = F.relu(layer(F.max_pool2d(x, self._net.window, 2) if index in self._net.pooled else x))
            if index in self._net.compared:
                yield x

    def _load(self, path: Path) -> None:
        """Raises `CheckpointError` for a file that is damaged, unsafe or of another net."""
        try:
            self.load_state_dict(_read(path, self._net), assign=True)
        except RuntimeError as error:
            raise CheckpointError(f"{path.name} cannot be read as LPIPS weights: {error}") from error


def _unit(features: Tensor) -> Tensor:
    return features / (features.norm(dim=1, keepdim=True) + 1e-10)


class _ArraysOnly(pickle.Unpickler):
    """Reads numpy's arrays and plain containers; anything else is refused by name."""

    def find_class(self, module: str, name: str) -> Any:
        place = f"{module.removeprefix('numpy').removeprefix('._core').removeprefix('.core').lstrip('.')}.{name}"
        if module.split(".")[0] == "numpy" and place.lstrip(".") in _ALLOWED:
            module = "numpy._core.multiarray" if name == "_reconstruct" else "numpy"
            return super().find_class(module, name)
        raise CheckpointError(f"LPIPS weights are refused, and nothing in them was run: they ask for {module}.{name}.")


def _read(path: Path, net: _Net) -> dict[str, Tensor]:
    """The asset's arrays (kernels [h, w, in, out]) under this module's names."""
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file).load()
        found = {}
        for index in range(len(net.layers)):
            layer = content[net.scope][f"Conv_{index}"]
            found[f"features.{index}.weight"] = torch.tensor(layer["kernel"]).permute(3, 2, 0, 1).contiguous()
            found[f"features.{index}.bias"] = torch.tensor(layer["bias"])
        for index in range(len(net.compared)):
            found[f"weights.{index}"] = torch.tensor(content[f"NetLinLayer_{index}"]["Conv_0"]["kernel"]).flatten()
    except CheckpointError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise CheckpointError(f"{path.name} cannot be read as LPIPS weights: {error!r}.") from error
    return found
