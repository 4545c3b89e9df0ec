"""The copy gate: where the photo shows a pixel, take it; elsewhere, trust the network."""

from __future__ import annotations

from torch import Tensor

_SLOPE, _MIDDLE = 10.0, 0.25  # the gate before learning: half open at a visibility of 0.25
_HIDDEN = 0.05  # visibility below which nothing is copied


def copy_gate(logits: Tensor, visibility: Tensor) -> Tensor:
    """sigmoid(logits + 10 (visibility - 0.25)), and 0 where visibility < 0.05; all of one shape, visibility in 0..1."""
    return (logits + _SLOPE * (visibility - _MIDDLE)).sigmoid() * (visibility >= _HIDDEN)


def blend_copy(clean: Tensor, copied: Tensor, gate: Tensor) -> Tensor:
    """g copied + (1 - g) clean.

    Args:
        clean, copied: [..., C, h, w] predicted and projected clean latents.
        gate: [..., G, h, w] in 0..1, G divides C. With a pixel codec of factor f, G = f^2 holds one gate a pixel,
            which all its colours share; with a learned autoencoder G = 1.
    """
    # a colour's f^2 channels lie together, so the gates repeat as a block
    repeats = [1] * (gate.ndim - 3) + [clean.shape[-3] // gate.shape[-3], 1, 1]
    spread = gate.repeat(repeats)
    return spread * copied + (1 - spread) * clean
