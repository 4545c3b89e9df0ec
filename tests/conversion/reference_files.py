"""Fixture files in the peers' format, and what several of them share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.conversion import reference_geometry as geometry
from tests.conversion.reference_maths import Weights

RELATIVE, SAMPLED = 1e-5, 3e-4  # of the largest value; look-ups into white noise turn a rounding of the place into this
UNET: dict[str, Any] = {
    "volume_dims": [8, 16, 16, 24],
    "in_channels": 8,
    "out_channels": 4,
    "model_channels": 24,
    "attention_resolutions": [4, 2, 1],
    "num_res_blocks": 2,
    "channel_mult": [1, 2, 3, 3],
    "num_heads": 3,
    "transformer_depth": 1,
    "context_dim": 20,
}
GROUPS = 8
SAID = f"The UNet group norms have {GROUPS} groups instead of the hard-wired 32."

Tensors = dict[str, Tensor]


def write(folder: Path, name: str, w: Weights, inputs: Tensors, outputs: Tensors, **meta: Any) -> None:
    """One fixture file."""

    def stored(t: Tensor) -> Tensor:
        return (t.float() if t.is_floating_point() else t).contiguous()

    def tolerance(key: str, t: Tensor) -> float:
        sampled = key in meta.get("sampled", ())
        return (SAMPLED if sampled else RELATIVE) * max(1.0, t.double().abs().max().item())

    described = {
        "fixture": name,
        "constructor_arguments": meta["arguments"],
        "conventions": meta.get("conventions", ""),
        "suggested_absolute_tolerance": {k: tolerance(k, t) for k, t in outputs.items()},
        **meta.get("more", {}),
    }
    tensors = {f"weights/{k}": t for k, t in w.tensors.items()}
    tensors |= {f"in/{k}": stored(t) for k, t in inputs.items()}
    tensors |= {f"out/{k}": stored(t) for k, t in outputs.items()}
    save_file(tensors, folder / f"{name}.safetensors", {"meta": json.dumps(described)})


def cameras_at(angles: list[float], distance: float, focal: float, image: int) -> tuple[Tensor, Tensor]:
    made = [geometry.camera(a, 10.0 - 7 * i, distance + 0.1 * i, focal, image) for i, a in enumerate(angles)]
    return torch.stack([pose for pose, _ in made]), torch.stack([k for _, k in made])


def four_by_four(k: Tensor) -> Tensor:
    """Intrinsics as 4 x 4 matrices, as Morphable Diffusion has them."""
    out = torch.eye(4).repeat(*k.shape[:-2], 1, 1)
    out[..., :3, :3] = k
    return out


def sync_view(azimuth: Tensor, elevation: Tensor) -> Tensor:
    turn = (azimuth - azimuth[0]).expand(len(elevation), -1).double()
    rise = (elevation[:, None] - torch.pi / 6).double().expand_as(turn)
    return torch.stack([rise, turn.sin(), turn.cos(), 0 * turn], -1)


def cropped(name: str, volume: Tensor) -> Tensors:
    places = (volume != 0).any(0).any(0).nonzero()
    low, high = places.amin(0), places.amax(0) + 1
    box = volume[:, :, low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    return {f"{name}_crop": box, f"{name}_crop_start": low, f"{name}_shape": torch.tensor(volume.shape)}
