"""What a squared error does not ask for: that the predicted pictures look like the true ones, sharp where they are.

A network that predicts the clean sample from much noise is asked for a mean, and the squared error's mean is a blur. A
few steps of the sampler do not undo that in a small model; a distance of deep features does (as in LRM and FaceLift).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from gen3dface.evaluation.lpips import LPIPS


class PerceptualLoss(nn.Module):
    """Mean LPIPS of the views, and of their middle half, where the face is, at twice the size.

    Gradients reach the views that were made; the network here is fixed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.distance = LPIPS()

    def forward(self, made: Tensor, true: Tensor) -> Tensor:
        """[] of made and true views [B, N, 3, S, S] in 0..1."""
        made, true = made.flatten(0, 1), true.flatten(0, 1)
        found: Tensor = self.distance(made, true).mean() + self.distance(_closer(made), _closer(true)).mean()
        return found / 2


def _closer(pictures: Tensor) -> Tensor:
    """[R, 3, S, S] -> the middle half of each, enlarged to [R, 3, S, S]."""
    quarter = pictures.shape[-1] // 4
    middle = pictures[..., quarter:-quarter, quarter:-quarter]
    return F.interpolate(middle, scale_factor=2.0, mode="bilinear", align_corners=False)
