"""Do the views belong to their cameras?

Before the fit: what all masks carve out of the volume must show the masks again. After it: what a surface explains.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.errors import ReconstructionError
from gen3dface.recon.distance_grid import SIDE, corner_points

_SIDE = 48  # px of the reduced masks
_CELLS = 64  # a side of the volume: smaller than a pixel's
_AGREES = 0.85  # intersection over union from which a view belongs to the others: masks 3 px off leave 0.885
STRAYS = 0.25  # share of views that may be left out, for their masks and their colours together
_LOOSE, _TIGHT = 0.95, 0.975  # mean overlaps: masks 3 px off leave 0.92 to 0.957, true ones 0.978 to 0.993
_LEAST = 1 / 3  # of an outline's weight that loose masks keep
_EVEN = 0.02  # a colour's deviation in pictures that show nothing but one colour and noise
# neighbours with each other's cameras have shares of -0.1 to 0.6 and 4 times the others' error; a network's odd view
# 0.2 and 1.3 times, a view among faulty ones 0.7 and 1.5 times
_EXPLAINED, _WORSE = 0.65, 2.5
_BESIDE = 0.75  # of the largest error


@dataclass(frozen=True)
class Agreement:
    """How well each of N views fits the others."""

    overlap: Tensor  # [N] intersection over union of its mask and what the others carve
    trusted: Tensor  # [N] bool

    @property
    def outline_weight(self) -> float:
        """How much outlines should count, in 0..1: the less, the more the masks contradict each other.

        A surface that is to please contradicting outlines comes out in facets and fins.
        """
        share = (float(self.overlap[self.trusted].mean()) - _LOOSE) / (_TIGHT - _LOOSE)
        return _LEAST + (1 - _LEAST) * min(max(share, 0.0), 1.0)


@dataclass(frozen=True)
class Explained:
    """How well a surface explains the colours of N views."""

    overall: float  # share of the variance of all views' colours, at most 1
    shares: Tensor  # [N] of each view's
    errors: Tensor  # [N] root mean square colour difference from what the surface, or the others, show

    @classmethod
    def of(cls, wrong: Tensor, apart: Tensor, weight: Tensor, left: Tensor | None = None) -> Explained:
        """From sums [N] over each view: squared errors, squared distances from its own mean colour, weights.

        left: squared errors in the end, where `wrong` is judged by the other views alone.
        """
        weight = 3 * weight.clamp(min=1e-6)
        apart = apart + _EVEN**2 * weight
        overall = 1 - (wrong if left is None else left).sum() / apart.sum()
        return cls(float(overall), (1 - wrong / apart).cpu(), (wrong / weight).sqrt().cpu())

    @property
    def strays(self) -> Tensor:
        """[N] bool: far worse explained than the others. Not those that suffer from worse ones beside them."""
        limits = _WORSE * float(self.errors.median()), _BESIDE * float(self.errors.max()), _EVEN
        worst = self.errors > max(limits)
        return worst & (self.shares < _EXPLAINED)


def check_agreement(masks: Tensor, cameras: Cameras, most: float | None = None) -> Agreement:
    """Compare the masks [N, 1, H, W] in 0..1 with the visual hull of all views.

    A few strays are left out: the hull is carved without them, so that it does not miss what they miss.

    Args:
        most: how many may be (default: a quarter).

    Raises:
        ReconstructionError: the masks are empty, or too few views agree: their cameras are others' or wrong.
    """
    most = STRAYS * len(masks) if most is None else most
    empty = [i for i, mask in enumerate(masks) if not (mask > 0.5).any()]
    if len(empty) > most:
        raise ReconstructionError(
            f"The masks of {len(empty)} of {len(masks)} views are empty (the first is view {empty[0]}): nothing is "
            "there to be reconstructed. Give views with alpha or masks."
        )
    carving = _Carving(masks, cameras)
    trusted = torch.tensor([i not in empty for i in range(len(masks))], device=masks.device)
    while True:
        overlap = carving.overlaps(trusted)
        worst = int(torch.where(trusted, overlap, 2.0).argmin())
        if overlap[worst] >= _AGREES:
            return Agreement(overlap, trusted)
        trusted[carving.culprit(trusted)] = False
        if (~trusted).sum() > most:
            raise ReconstructionError(
                f"The views do not fit together: with their cameras, view {worst} shows only {overlap[worst]:.0%} of "
                "what the others leave. Are they paired with each other's cameras, or the cameras in another "
                "convention?"
            )


class _Carving:
    """What each of N masks says of each of P cells of the volume."""

    def __init__(self, masks: Tensor, cameras: Cameras) -> None:
        self.wanted = F.interpolate(masks, (_SIDE, _SIDE), mode="area")[:, 0].flatten(1) > 0.5
        xy, _ = cameras.resized(_SIDE, _SIDE).project(corner_points(_CELLS, SIDE, masks.device))
        columns, rows = xy.floor().nan_to_num(-1).clamp(-1, _SIDE).long().unbind(-1)
        self.shown = (columns >= 0) & (columns < _SIDE) & (rows >= 0) & (rows < _SIDE)
        self.pixels = (rows * _SIDE + columns).clamp(0, _SIDE**2 - 1)
        self.inside = self.wanted.gather(1, self.pixels) | ~self.shown  # [N, P]

    def overlaps(self, trusted: Tensor) -> Tensor:
        """Of each mask with the hull of the trusted ones, [N]."""
        hull = self.inside[trusted].all(0)
        found = []
        for pixels, shown, wanted in zip(self.pixels, self.shown, self.wanted, strict=True):
            seen = torch.zeros_like(wanted).index_fill_(0, pixels[hull & shown], True)
            found.append((seen & wanted).sum() / (seen | wanted).sum().clamp(min=1))
        return torch.stack(found)

    def culprit(self, trusted: Tensor) -> int:
        """The view without which the others agree best."""
        scores = torch.full((len(trusted),), -1.0, device=trusted.device)
        for view in trusted.nonzero()[:, 0].tolist():
            without = trusted.clone()
            without[view] = False
            scores[view] = self.overlaps(without)[without].mean()
        return int(scores.argmax())
