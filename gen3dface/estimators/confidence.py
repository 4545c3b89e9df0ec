"""How far a fit can be trusted, in 0..1.

confidence = fit x likeness x view

- fit: 1 when the median landmark lies within 1 % of the inter-ocular distance, 0 at the 10 % at which a fit is
  given up, logarithmic between;
- likeness: falls as the identity grows stranger than the population, exp(-(|z|^2 / K - 1) / 2) beyond |z|^2 = K;
- view: 1 up to a yaw of 35 degrees, falling linearly to 0.3 at 90: one eye and half of the face are unseen then.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

GOOD_RESIDUAL = 0.01
HOPELESS_RESIDUAL = 0.10


def confidence(median_residual: float, identity: NDArray[np.float64], yaw: float) -> float:
    """median_residual over the inter-ocular distance, identity [K] standardised to N(0, 1) over people, yaw degrees."""
    fit = math.log(HOPELESS_RESIDUAL / max(median_residual, GOOD_RESIDUAL)) / math.log(
        HOPELESS_RESIDUAL / GOOD_RESIDUAL
    )
    likeness = math.exp(-max(float((identity**2).mean()) - 1, 0.0) / 2)
    view = 1 - 0.7 * min(max(abs(yaw) - 35, 0.0) / 55, 1.0)
    return max(fit, 0.0) * likeness * view
