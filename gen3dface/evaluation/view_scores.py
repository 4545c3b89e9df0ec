"""How near made views come to true ones, view by view: what the tables of engines are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen3dface.errors import NoFaceError
from gen3dface.evaluation.identity import IdentityEmbedder, cosine
from gen3dface.evaluation.lpips import LPIPS

Array = NDArray[np.float64]
AZIMUTH_BINS = ((0.0, 45.0), (45.0, 90.0), (90.0, 180.0))  # degrees from the front; the upper end belongs to the bin
_ENLARGED = 256  # px that small views are enlarged to, so that a face detector may find faces in them
MEASURES = ("lpips", "psnr", "iou", "identity")


@dataclass(frozen=True)
class ViewScores:
    """One number a view, N views."""

    azimuth: Array  # degrees from the front, 0..180
    lpips: Array  # to the true view
    psnr: Array  # dB, over the whole picture
    iou: Array  # of the silhouettes at half coverage
    identity: Array  # SFace cosine to the photo, NaN where no face was found

    @classmethod
    def joined(cls, parts: Sequence[ViewScores]) -> ViewScores:
        """The views of several heads."""
        names = ("azimuth", *MEASURES)
        return cls(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})

    def means(self, low: float, high: float) -> dict[str, float]:
        """Mean of each measure over the views with low < azimuth <= high (0 belongs to the first bin), and `detected`,
        the share of them in which a face was found. NaN where there is nothing to average."""
        inside = (self.azimuth > low) & (self.azimuth <= high)
        if low == 0:
            inside |= self.azimuth == 0
        found = {name: _mean(getattr(self, name)[inside]) for name in MEASURES}
        return found | {"detected": _mean(np.isfinite(self.identity[inside]).astype(float))}


class ViewJudge:
    """Scores views; the networks are read once."""

    def __init__(self) -> None:
        self._lpips, self._embed = LPIPS(), IdentityEmbedder()

    def photo(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Identity of a photo, uint8 [H, W, 3]. Raises NoFaceError."""
        return self._embed(image)

    @torch.no_grad()
    def __call__(
        self,
        images: Tensor,  # [N, 3, S, S] in 0..1 over white
        masks: Tensor,  # [N, 1, S, S] in 0..1
        truth: Tensor,  # [N, 3, S, S]
        true_masks: Tensor,  # [N, 1, S, S]
        azimuths: Tensor,  # [N] degrees
        person: NDArray[np.float32] | None,  # from `photo`
    ) -> ViewScores:
        """Scores of one head's views against the true ones."""
        error = ((images - truth) ** 2).mean((1, 2, 3)).clamp(min=1e-10)
        turned = (azimuths.double().numpy() + 180) % 360 - 180
        return ViewScores(
            azimuth=np.abs(turned).round(3),
            lpips=self._lpips(images, truth).double().numpy(),
            psnr=(-10 * error.log10()).double().numpy(),
            iou=mask_iou(masks, true_masks),
            identity=np.array([self._identity(image, person) for image in images]),
        )

    def _identity(self, image: Tensor, person: NDArray[np.float32] | None) -> float:
        if person is None:
            return float("nan")
        scale = max(1.0, _ENLARGED / image.shape[-1])
        large = torch.nn.functional.interpolate(image[None], scale_factor=scale, mode="bicubic", align_corners=False)
        pixels = large[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
        try:
            return cosine(self._embed(pixels), person)
        except NoFaceError:
            return float("nan")


def mask_iou(first: Tensor, second: Tensor) -> Array:
    """Intersection over union [N] of masks [N, 1, H, W], cut at half coverage; 1 where both are empty."""
    a, b = first > 0.5, second > 0.5
    both, either = (a & b).sum((1, 2, 3)), (a | b).sum((1, 2, 3))
    return torch.where(either > 0, both / either.clamp(min=1), 1.0).double().numpy()


def _mean(values: Array) -> float:
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if len(kept) else float("nan")
