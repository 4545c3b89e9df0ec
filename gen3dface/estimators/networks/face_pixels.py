"""The small convolutional network that reads identity from an unwrapped face."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gen3dface.estimators.unwrapped_face import SIDE

_WIDTHS = (24, 48, 64, 96)
_TOLD = 0.3, 3.0  # what landmarks tell is scaled and bounded, so that odd ones are not believed further


class FacePixelNetwork(nn.Module):
    """What pixels add to what the landmarks said, in units of that error's root mean square.

    Args:
        features: of the landmarks. modes: that are predicted. dropout: of the pixels' features, in training.
    """

    inside: Tensor

    def __init__(self, features: int, modes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("inside", torch.ones(SIDE, SIDE), persistent=False)
        self.pixels = nn.Sequential(*(_stage(i, o) for i, o in zip((3, *_WIDTHS), _WIDTHS, strict=False)))
        self.dropout = nn.Dropout(dropout)
        self.from_pixels = nn.Linear(_WIDTHS[-1] * (SIDE // 16) ** 2, 160)
        self.from_landmarks = nn.Linear(features, 96)
        last = nn.Linear(160, modes)
        self.mix = nn.Sequential(nn.ReLU(), nn.Linear(256, 160), nn.ReLU(), last)
        self.straight = nn.Linear(features, modes)
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(self.straight.weight)
        nn.init.zeros_(self.straight.bias)

    def forward(self, faces: Tensor, features: Tensor) -> Tensor:
        """Faces [N, 3, S, S] by `normalised` and standardised features [N, F] -> modes [N, M]."""
        told = (features * _TOLD[0]).clamp(-_TOLD[1], _TOLD[1])
        seen = self.from_pixels(self.dropout(self.pixels(faces).flatten(1)))
        out: Tensor = self.mix(torch.cat([seen, self.from_landmarks(told)], 1)) + self.straight(told)
        return out

    def normalised(self, faces: Tensor) -> Tensor:
        """uint8 [N, 3, S, S] -> float32 of mean 0 and deviation 1 within the face: of no light and no camera."""
        pixels, count = faces.float() / 255, self.inside.sum()
        mean = (pixels * self.inside).sum((2, 3), keepdim=True) / count
        apart = (pixels - mean) * self.inside
        deviation = ((apart**2).sum((1, 2, 3), keepdim=True) / (3 * count)).sqrt()
        return apart / (deviation + 1e-3)


def _stage(inner: int, outer: int) -> nn.Sequential:
    """Half the side, twice convolved."""
    return nn.Sequential(
        nn.Conv2d(inner, outer, 3, 2, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU(),
        nn.Conv2d(outer, outer, 3, 1, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU(),
    )  # fmt: skip
