"""Is the person in the views the one in the photo? A loss for models that predict the clean sample.

The views that show the face and the photo itself are cut out around the eyes of the estimated head, and a recogniser's
embeddings are brought together, as is common in face generation (ArcFace's cosine in e4e, Arc2Face and others).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dface.cameras import Cameras
from gen3dface.errors import ConfigError
from gen3dface.heads import load_head_model
from gen3dface.pipelines import codec
from gen3dface.pipelines.prepared import Prepared
from gen3dface.training.recogniser import CHIP, FaceRecogniser

_AZIMUTH, _ELEVATION = 95.0, 30.0  # degrees up to which a view shows the face, in profile at least
_EYES = (74.0, 46.0)  # px of the chip between the eyes
_DENSITY = 820.0  # px of the chip a metre: 74 between the eyes' outer corners


class IdentityLoss(nn.Module):
    """Mean squared distance of the views' embeddings to their photo's.

    vae: decodes latents. prediction: the model's `prediction_type`.

    Raises:
        ConfigError: the model does not predict the clean sample.
    """

    eyes: Tensor

    def __init__(self, vae: Any, prediction: str) -> None:
        super().__init__()
        if prediction != "sample":
            raise ConfigError(f"objective.identity is for models that predict the sample, not {prediction}.")
        self._vae = [vae]  # the pipeline's own, wherever it is
        self.recogniser = FaceRecogniser()
        regions = load_head_model().regions
        self.register_buffer("eyes", regions["left_eye"] | regions["right_eye"], persistent=False)

    def forward(self, predicted: Tensor, heads: Sequence[Prepared]) -> Tensor:
        """[] of predicted scaled latents [B, N, C, h, w]; zero where no view shows a face."""
        made, photos = [], []
        (vae,) = self._vae
        for latents, head in zip(predicted, heads, strict=True):
            shown = shows_face(head.views)
            if shown.any():
                pictures = codec.decode(vae, latents[shown].float())[0]
                between = head.vertices[self.eyes].mean(0)
                made.append(face_chips(pictures, head.views[shown], between))
                photos.append(face_chips(head.image[None], head.photo, between).expand_as(made[-1]))
        if not made:
            return predicted.sum() * 0
        with torch.no_grad():
            wanted = self.recogniser(torch.cat(photos))
        found: Tensor = (self.recogniser(torch.cat(made)) - wanted).square().sum(1).mean()
        return found


def shows_face(cameras: Cameras) -> Tensor:
    """[N] bool: from the front or the side, neither from far above nor below."""
    turned = (cameras.azimuths + 180) % 360 - 180
    return (turned.abs() <= _AZIMUTH) & (cameras.elevations.abs() <= _ELEVATION)


def face_chips(pictures: Tensor, cameras: Cameras, between: Tensor) -> Tensor:
    """Faces cut out upright, [N, 3, CHIP, CHIP], of pictures [N, 3, S, S].

    between: [3] the point between the eyes, in the cameras' world; the world's y is the head's up.
    """
    below = between - between.new_tensor([0.0, 0.05, 0.0])
    points, depth = cameras.project(torch.stack([between, below]))
    start = points[:, 0]
    down = F.normalize(points[:, 1] - start, dim=-1)
    right = torch.stack([down[:, 1], -down[:, 0]], -1)
    rows = torch.arange(CHIP, device=pictures.device) + 0.5
    y, x = torch.meshgrid((rows - _EYES[1]) / _DENSITY, (rows - _EYES[0]) / _DENSITY, indexing="ij")
    metre = (cameras.intrinsics[:, 0, 0] / depth[:, 0])[:, None, None, None]
    offset = x[..., None] * right[:, None, None] + y[..., None] * down[:, None, None]
    pixels = start[:, None, None] + metre * offset
    size = pixels.new_tensor([cameras.width, cameras.height])
    return F.grid_sample(pictures, pixels / size * 2 - 1, padding_mode="border", align_corners=False)
