"""The head as a field: signed distance and colour of every point."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from gen3dface.recon.distance_grid import DistanceGrid
from gen3dface.recon.exposure import Exposures
from gen3dface.recon.hash_encoding import HashEncoding

_REACH = 0.01  # metres that the network's output of 1 moves the surface


class SDFField(nn.Module):
    """f(x) = f_0(x) + r h(x), and a colour, from hashed features.

    NeuS2 (Wang et al., 2023) on top of a start: f_0 is the distance to a head that is already there, estimated or a
    visual hull, and the network says nothing before training, so the first picture is a head.

    Args:
        start: f_0. views: N pictures, whose exposures may differ: each has a gain and an offset for each colour.
        trust: [N] how much each view counts for what the common exposure is (default: all alike).
        hidden: width of the two networks. geometry: features that the distance's network hands to the colour's.
    """

    trust: Tensor

    def __init__(
        self,
        start: DistanceGrid,
        views: int,
        encoding: HashEncoding | None = None,
        hidden: int = 64,
        geometry: int = 15,
        trust: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.start = start
        self.encoding = encoding or HashEncoding()
        width = self.encoding.width
        self.geometry = nn.Sequential(nn.Linear(width, hidden), nn.Softplus(beta=100), nn.Linear(hidden, 1 + geometry))
        self.colour = nn.Sequential(
            nn.Linear(width + geometry, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 3)
        )
        last = cast(nn.Linear, self.geometry[-1])
        nn.init.zeros_(last.weight[:1])
        nn.init.zeros_(last.bias)
        self.gain = nn.Parameter(torch.zeros(views, 3))  # logarithms
        self.offset = nn.Parameter(torch.zeros(views, 3))
        trust = torch.ones(views) if trust is None else trust.float().cpu()
        self.register_buffer("trust", (trust / trust.sum())[:, None], persistent=False)
        self.levels = self.encoding.width // self.encoding.features

    def features(self, points: Tensor) -> Tensor:
        """Hashed features [P, W] of points [P, 3] in metres, 0 for the finest levels while `levels` leaves them out."""
        found = self.encoding(points / self.start.side + 0.5)
        silent = found.shape[1] - self.levels * self.encoding.features
        return found if silent <= 0 else torch.cat([found[:, :-silent], torch.zeros_like(found[:, -silent:])], 1)

    def distances(self, points: Tensor) -> Tensor:
        """Signed distances [P] in metres."""
        return self.measured(points)[0]

    def measured(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Signed distances [P] of points [P, 3], and what the colours are made from, [P, W + G]."""
        features = self.features(points)
        out = self.geometry(features)
        return self.start(points) + _REACH * out[:, 0], torch.cat([features, out[:, 1:]], 1)

    def colours(self, made_from: Tensor) -> Tensor:
        """[P, 3] in 0..1."""
        found: Tensor = self.colour(made_from).sigmoid()
        return found

    def exposed(self, colours: Tensor, view: Tensor) -> Tensor:
        """Colours [R, 3] as the views [R] show them; what all views agree on stays as it is."""
        gain, offset = self._exposures()
        return colours * gain.index_select(0, view) + offset.index_select(0, view)

    def exposures(self) -> Exposures:
        """What undoes `exposed`."""
        gain, offset = self._exposures()
        return Exposures.of(1 / gain, -offset / gain)

    def _exposures(self) -> tuple[Tensor, Tensor]:
        """Gains and offsets [N, 3] of the views."""
        gain, offset = (p - (self.trust * p).sum(0) for p in (self.gain, self.offset))
        return gain.exp(), offset
