"""The loss of multi-view diffusion.

The paper's, over all N views of a head at once, which share one noise level t:

    L = E_{t, x0, e} [ 1/N sum_n || e^(n) - e_theta^(n)(x_t^(1:N), t, y, M) ||^2 ],
    x_t = sqrt(a_t) x0 + sqrt(1 - a_t) e,

with the photo y and the mesh M estimated from it. Networks that predict the clean sample or the velocity
v = sqrt(a_t) e - sqrt(1 - a_t) x0 (Salimans and Ho, 2022) have that as their target instead.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gen3dface.errors import ConfigError
from gen3dface.training.config import ObjectiveConfig

PREDICTIONS = ("epsilon", "sample", "v_prediction")
_TINY = 1e-8


def add_noise(clean: Tensor, noise: Tensor, alpha: Tensor) -> Tensor:
    """x_t of clean latents and unit noise [B, N, C, h, w], `alpha` [B] being a_t in 0..1."""
    alpha = _broadcast(alpha, clean)
    return alpha.sqrt() * clean + (1 - alpha).sqrt() * noise


def target(prediction: str, clean: Tensor, noise: Tensor, alpha: Tensor) -> Tensor:
    """What a network with this `prediction_type` should say, [B, N, C, h, w]."""
    if prediction == "epsilon":
        return noise
    if prediction == "sample":
        return clean
    if prediction == "v_prediction":
        alpha = _broadcast(alpha, clean)
        return alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
    raise ConfigError(f"Unknown prediction_type {prediction!r}; choose one of {', '.join(PREDICTIONS)}.")


def loss_weights(settings: ObjectiveConfig, prediction: str, alpha: Tensor) -> Tensor:
    """Weight of each head's squared error, [B], for a_t [B].

    `min_snr` and `truncated` are weights w(t) of the clean sample's error: min(SNR, gamma) with SNR = a / (1 - a)
    (Hang et al., 2023), and min(1 / (1 - a), gamma). An error in e is the clean sample's times a / (1 - a), one in v
    times 1 / (1 - a), so w is divided by these.
    """
    if settings.weighting == "none":
        return torch.ones_like(alpha)
    variance = (1 - alpha).clamp(min=_TINY)
    sample = alpha / variance if settings.weighting == "min_snr" else 1 / variance
    sample = sample.clamp(max=settings.gamma)
    if prediction == "epsilon":
        return sample * variance / alpha.clamp(min=_TINY)
    return sample * variance if prediction == "v_prediction" else sample


def multiview_loss(predicted: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Mean over the heads of their weighted mean squared error over all views: [B, N, C, h, w] and [B] -> []."""
    return (weights * (predicted.float() - wanted.float()).square().flatten(1).mean(1)).mean()


def timestep_of(uniform: float, steps: int, power: float) -> int:
    """t = floor(T U^p), U in 0..1: an exponent below 1 favours high noise."""
    return min(int(steps * uniform**power), steps - 1)


def _broadcast(alpha: Tensor, like: Tensor) -> Tensor:
    return alpha.to(like)[:, None, None, None, None]
