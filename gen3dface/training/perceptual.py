"""What a squared error does not ask for: that the predicted pictures look like the true ones, sharp where they are.

A network that predicts the clean sample from much noise is asked for a mean, and the squared error's mean is a blur. A
few steps of the sampler do not undo that in a small model; a distance of deep features does (as in LRM and FaceLift).
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from gen3dface.errors import ConfigError
from gen3dface.evaluation.lpips import LPIPS
from gen3dface.pipelines import codec


class PerceptualLoss(nn.Module):
    """Mean LPIPS of the decoded views, and of their middle half, where the face is, at twice the size.

    Gradients reach the prediction; the networks here are fixed.

    vae: decodes latents. prediction: the model's `prediction_type`.

    Raises:
        ConfigError: the model does not predict the clean sample.
    """

    def __init__(self, vae: Any, prediction: str) -> None:
        super().__init__()
        if prediction != "sample":
            raise ConfigError(f"objective.perceptual is for models that predict the sample, not {prediction}.")
        self._vae = [vae]  # the pipeline's own, wherever it is
        self.distance = LPIPS()

    def forward(self, predicted: Tensor, clean: Tensor) -> Tensor:
        """[] of predicted and true scaled latents [B, N, C, h, w]."""
        (vae,) = self._vae
        made, true = (codec.decode(vae, z.flatten(0, 1).float())[0] for z in (predicted, clean))
        found: Tensor = self.distance(made, true).mean() + self.distance(_closer(made), _closer(true)).mean()
        return found / 2


def _closer(pictures: Tensor) -> Tensor:
    """[R, 3, S, S] -> the middle half of each, enlarged to [R, 3, S, S]."""
    quarter = pictures.shape[-1] // 4
    middle = pictures[..., quarter:-quarter, quarter:-quarter]
    return F.interpolate(middle, scale_factor=2.0, mode="bilinear", align_corners=False)
