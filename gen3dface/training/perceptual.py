"""What a squared error does not ask for: that the predicted pictures look like the true ones, sharp where they are.

A network that predicts the clean sample from much noise is asked for a mean, and the squared error's mean is a blur. A
few steps of the sampler do not undo that in a small model; a distance of deep features does (as in LRM and FaceLift).

The features are taken at every fourth pixel: what always starts at the same one hardly sees a weave of that period, and
a model that is trained so leaves it. So where they start changes from step to step.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dface.evaluation.lpips import LPIPS

_STRIDE = 4  # of the first layer of LPIPS's AlexNet


class PerceptualLoss(nn.Module):
    """Mean LPIPS of the views, and of their middle half, where the face is, at twice the size.

    Gradients reach the views that were made; the network here is fixed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.distance = LPIPS()

    def forward(self, made: Tensor, true: Tensor, start: int = 0) -> Tensor:
        """[] of made and true views [B, N, 3, S, S] in 0..1.

        start: which of the 16 pixels of a feature's block the features start at; any number, 0: as LPIPS is defined.
        """
        made, true = made.flatten(0, 1), true.flatten(0, 1)
        pairs = ((made, true), (_closer(made), _closer(true)))
        return torch.stack([distance_from(self.distance, *pair, start) for pair in pairs]).mean()


def distance_from(distance: LPIPS, made: Tensor, true: Tensor, start: int) -> Tensor:
    """Mean LPIPS [] of pictures [R, 3, S, S] in 0..1. start: as `PerceptualLoss` takes it."""
    top, left = divmod(start % _STRIDE**2, _STRIDE)
    found: Tensor = distance(*(F.pad(x, (left, 0, top, 0), mode="replicate") for x in (made, true))).mean()
    return found


def _closer(pictures: Tensor) -> Tensor:
    """[R, 3, S, S] -> the middle half of each, enlarged to [R, 3, S, S]."""
    quarter = pictures.shape[-1] // 4
    middle = pictures[..., quarter:-quarter, quarter:-quarter]
    return F.interpolate(middle, scale_factor=2.0, mode="bilinear", align_corners=False)
