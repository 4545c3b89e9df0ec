"""How far off a fit may be: standard deviations of pose and identity (Laplace's approximation).

The covariance is the inverse of the normal matrix at the solution, in which identity has the belief that it had before
the fit, so that the size, which a photo does not show, stays as open as it is among people. Errors of the 478
landmarks are anything but independent: over 674 random pictures their covariance C, in units of the assumed spreads,
has a participation ratio (tr C)^2 / tr C^2 of 8, of 956 coordinates, and the errors are 1.8 times the spreads. So here
they count as `SHARED` times 478, fewer than in the fit itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen3dface.errors import EstimationError
from gen3dface.estimators import landmark_fit
from gen3dface.estimators.joint_fit import block_of, eliminated
from gen3dface.estimators.landmark_fit import POSE, LandmarkFit
from gen3dface.estimators.priors import ShapePrior

Array = NDArray[np.float64]
SHARED = 0.03
# Where a landmark lies on the model and where the detector puts it differ in ways that tip the whole head: what the
# normal matrix leaves unexplained of the nod on tuning heads (benchmark seeds 1000-1023). Turn and roll need no such.
_NOD = 4.0  # degrees


@dataclass(frozen=True)
class Uncertainty:
    """Standard deviations."""

    rotation: Tensor  # [3] degrees: of the head's pose about the camera's axes x (nod), y (turn) and z (roll)
    identity: Tensor  # [K] of each coefficient

    def __post_init__(self) -> None:
        if self.rotation.shape != (3,) or self.identity.ndim != 1:
            shapes = f"{tuple(self.rotation.shape)} and {tuple(self.identity.shape)}"
            raise EstimationError(f"Uncertainty.rotation is [3] and Uncertainty.identity [K], got {shapes}.")
        for name, values in (("rotation", self.rotation), ("identity", self.identity)):
            if not (values.is_floating_point() and bool((torch.isfinite(values) & (values >= 0)).all())):
                raise EstimationError(f"Uncertainty.{name} holds values that are no standard deviations.")


def uncertainties(fits: Sequence[LandmarkFit], belief: ShapePrior) -> list[Uncertainty]:
    """Of photos fitted together (or of one alone), in their order.

    Args:
        belief: about identity before the fit: of the regression, or of the population.
    """
    size = len(belief.mean)
    identity = np.arange(POSE, POSE + size)
    precision = belief.whitening.T @ belief.whitening
    steps, turns = [], []
    for fit in fits:
        problem = replace(
            fit.problem,
            shape=ShapePrior(belief.mean, np.zeros((size, size))),
            shared=fit.problem.shared * SHARED / landmark_fit.SHARED,
        )
        gradient, hessian, active = block_of(problem, fit.state)
        own = np.setdiff1d(active, identity)
        step = eliminated(gradient, hessian, own, identity, 0.0)
        precision = precision + hessian[np.ix_(identity, identity)] - hessian[np.ix_(identity, own)] @ step.gain
        steps.append(step.gain[:3])
        turns.append(np.linalg.inv(hessian[np.ix_(own, own)])[:3, :3])
    covariance = np.linalg.inv(precision)
    out = []
    for gain, turn in zip(steps, turns, strict=True):
        seen = np.degrees(1) ** 2 * np.diag(turn + gain @ covariance @ gain.T)
        out.append(Uncertainty(_root(seen + np.array([_NOD**2, 0, 0])), _root(np.diag(covariance))))
    return out


def _root(variances: Array) -> Tensor:
    return torch.from_numpy(np.sqrt(variances)).to(torch.float32)
