"""Weights that are known without a file, and checkpoints as the public ones are laid out."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def filled(network: nn.Module) -> nn.Module:
    """Every number of `network` set by its name and place, in double precision and evaluation mode.

    The reference outputs in data/public_networks.json are those of the original code, filled by the same rule.
    """
    state = network.state_dict()
    for name, values in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        wave = torch.arange(values.numel(), dtype=torch.float64) * 12.9898 + sum(name.encode()) * 0.731
        state[name] = _scaled(name, torch.sin(wave).reshape(values.shape))
    network.double().load_state_dict(state)
    return network.eval()


def _scaled(name: str, wave: Tensor) -> Tensor:
    if wave.ndim > 1:
        return wave * math.sqrt(3 / wave[0].numel())
    if name.endswith("running_var"):
        return 1 + 0.5 * wave
    return 0.8 + 0.2 * wave if name.endswith("weight") else 0.1 * wave


def picture(side: int) -> Tensor:
    """[1, 3, side, side] in 0..1."""
    places = torch.arange(3 * side * side, dtype=torch.float64).reshape(1, 3, side, side)
    return 0.5 + 0.5 * torch.sin(places * 0.37)
