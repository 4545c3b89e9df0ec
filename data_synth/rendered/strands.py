"""Strands: polylines of hair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Strands:
    """S strands of P points each, root first."""

    points: Tensor  # [S, P, 3] world, metres
    width: Tensor  # [S, P] metres
    colour: Tensor  # [S, P, 3] linear albedo in 0..1
    shine: Tensor  # [S] strength of the highlights, about 1

    def __len__(self) -> int:
        return len(self.points)

    @property
    def lengths(self) -> Tensor:
        """Arc lengths [S] in metres."""
        return (self.points[:, 1:] - self.points[:, :-1]).norm(dim=-1).sum(-1)

    def moved(self, points: Tensor) -> Strands:
        """The same strands with other points [S, P, 3]."""
        return Strands(points, self.width, self.colour, self.shine)

    def to(self, device: torch.device | str) -> Strands:
        """The same strands on another device."""
        return Strands(*(t.to(device) for t in (self.points, self.width, self.colour, self.shine)))

    @staticmethod
    def joined(groups: Sequence[Strands]) -> Strands:
        """Several groups as one; shorter polylines repeat their tip. At least one group is needed."""
        most = max(group.points.shape[1] for group in groups)
        padded = [group._padded(most) for group in groups]
        return Strands(*(torch.cat(parts) for parts in zip(*padded, strict=True)))

    def _padded(self, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        extra = count - self.points.shape[1]
        points, width, colour = (
            torch.cat([t, t[:, -1:].expand(-1, extra, *t.shape[2:])], 1) for t in (self.points, self.width, self.colour)
        )
        return points, width, colour, self.shine
