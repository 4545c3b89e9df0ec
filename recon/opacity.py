"""From signed distances along rays to opacities and pictures."""

from __future__ import annotations

import torch
from torch import Tensor


def section_opacity(distances: Tensor, sharpness: float | Tensor) -> Tensor:
    """NeuS's opacity of the sections between samples (Wang et al., 2021, eq. 13): unbiased, aware of what lies before.

    alpha_i = max((Phi(f_i) - Phi(f_i+1)) / Phi(f_i), 0) with the logistic Phi(f) = 1 / (1 + exp(-s f)).

    Args:
        distances: [R, K + 1] metres, from the camera on. sharpness: s, 1 / metres.

    Returns:
        [R, K] in 0..1.
    """
    # the quotient of sigmoids by their logarithms, which stays a number deep inside, where both are nothing
    logs = torch.nn.functional.logsigmoid(sharpness * distances)
    return -torch.expm1((logs[:, 1:] - logs[:, :-1]).clamp(max=0))


def section_weights(opacity: Tensor) -> Tensor:
    """w_i = alpha_i prod_(j < i) (1 - alpha_j): how much each section [R, K] shows."""
    left = (1 - opacity).cumprod(1)
    return opacity * torch.cat([torch.ones_like(left[:, :1]), left[:, :-1]], 1)
