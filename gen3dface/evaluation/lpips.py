"""LPIPS, the learned perceptual distance of two pictures (Zhang et al., 2018, "The Unreasonable Effectiveness of Deep
Features as a Perceptual Metric"), version 0.1 on AlexNet's features.

The usual package needs torchvision, which this one does without; its weights are read from a pinned asset.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dface.assets import fetch
from gen3dface.errors import CheckpointError

# AlexNet's convolutions: out channels, kernel, stride, padding; pooling before the second and the third
_LAYERS = ((64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))
_POOLED = (1, 2)
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of the pictures in -1..1
_SMALLEST = 32  # px a side
_ALLOWED = {"multiarray._reconstruct": "_reconstruct", "ndarray": "ndarray", "dtype": "dtype"}


class LPIPS(nn.Module):
    """d(x, y) = sum_l mean_hw  w_l . (f_l(x) - f_l(y))^2, features f_l of unit length over their channels (eq. 1).

    weights: a file in the layout of the asset "lpips_alex" (default: that asset).
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        inputs = [3, *(channels for channels, *_ in _LAYERS)]
        self.features = nn.ModuleList(
            nn.Conv2d(a, b, kernel, stride, padding)
            for a, (b, kernel, stride, padding) in zip(inputs, _LAYERS, strict=False)
        )
        self.weights = nn.ParameterList(torch.zeros(b) for b, *_ in _LAYERS)
        self.register_buffer("shift", torch.tensor(_SHIFT).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE).view(3, 1, 1), persistent=False)
        self.load_state_dict(_read(weights or fetch("lpips_alex")), assign=True)
        self.requires_grad_(False).eval()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances [B] of pictures [B, 3, H, W] in 0..1 sRGB, 32 pixels or more a side."""
        if min(first.shape[-2:]) < _SMALLEST or first.shape != second.shape:
            raise ValueError(f"LPIPS compares pictures of one size, 32 px or more, got {first.shape}, {second.shape}.")
        x, y = (((2 * p - 1) - self.shift) / self.scale for p in (first, second))
        total = first.new_zeros(len(first))
        for index, (layer, weight) in enumerate(zip(self.features, self.weights, strict=True)):
            x, y = (F.relu(layer(F.max_pool2d(p, 3, 2) if index in _POOLED else p)) for p in (x, y))
            apart = (_unit(x) - _unit(y)) ** 2
            total = total + torch.einsum("bchw,c->bhw", apart, weight).mean((1, 2))
        return total


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


def _read(path: Path) -> dict[str, Tensor]:
    """The asset's arrays (kernels [h, w, in, out]) under this module's names."""
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file).load()
        found = {}
        for index in range(len(_LAYERS)):
            layer = content["AlexNet_0"][f"Conv_{index}"]
            found[f"features.{index}.weight"] = torch.tensor(layer["kernel"]).permute(3, 2, 0, 1).contiguous()
            found[f"features.{index}.bias"] = torch.tensor(layer["bias"])
            found[f"weights.{index}"] = torch.tensor(content[f"NetLinLayer_{index}"]["Conv_0"]["kernel"]).flatten()
    except CheckpointError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise CheckpointError(f"{path.name} cannot be read as LPIPS weights: {error!r}.") from error
    return found
