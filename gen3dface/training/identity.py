"""Is the person in the views the one in the photo?

The views that show the face and the photo itself are cut out around the eyes of the estimated head, and a recogniser's
embeddings are brought together, as is common in face generation (ArcFace's cosine in e4e, Arc2Face and others).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dface.cameras import Cameras
from gen3dface.heads import load_head_model
from gen3dface.pipelines.prepared import Prepared
from gen3dface.training.recogniser import CHIP, FaceRecogniser

_AZIMUTH, _ELEVATION = 95.0, 30.0  # degrees up to which a view shows the face, in profile at least
_EYES = (74.0, 46.0)  # px of the chip between the eyes
_DENSITY = 820.0  # px of the chip a metre: 74 between the eyes' outer corners


class IdentityLoss(nn.Module):
    """Mean squared distance of the views' embeddings to their photo's; gradients reach the views."""

    eyes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.recogniser = FaceRecogniser()
        regions = load_head_model().regions
        self.register_buffer("eyes", regions["left_eye"] | regions["right_eye"], persistent=False)

    def forward(self, views: Tensor, heads: Sequence[Prepared]) -> Tensor:
        """[] of B heads' views [B, N, 3, S, S] in 0..1; zero where none shows a face."""
        faces, photos = [], []
        for pictures, head in zip(views, heads, strict=True):
            shown = shows_face(head.views)
            if shown.any():
                between = head.vertices[self.eyes].mean(0)
                faces.append(face_chips(pictures[shown], head.views[shown], between))
                photos.append(face_chips(head.image[None], head.photo, between).expand_as(faces[-1]))
        if not faces:
            return views.sum() * 0
        with torch.no_grad():
            wanted = self.recogniser(torch.cat(photos))
        found: Tensor = (self.recogniser(torch.cat(faces)) - wanted).square().sum(1).mean()
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
