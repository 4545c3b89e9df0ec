"""Light on a head: a smooth surrounding in spherical harmonics and a few lamps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Light:
    """What shines on a scene. All colours are linear; a white Lambertian surface under irradiance 1 looks white.

    `ambient` holds the irradiance (divided by pi) as a quadratic polynomial of the unit normal, which is what spherical
    harmonics of order 2 are: the rows weigh 1, x, y, z, xy, yz, 3 z^2 - 1, xz, x^2 - y^2 (Ramamoorthi and Hanrahan,
    An Efficient Representation for Irradiance Environment Maps, 2001).
    """

    ambient: Tensor  # [9, 3]
    lamps: Tensor  # [K, 4] homogeneous: w = 0 a direction toward the lamp, w = 1 a position in metres
    colours: Tensor  # [K, 3] irradiance / pi of a surface at the origin that faces the lamp

    @staticmethod
    def plain(brightness: float = 1.0) -> Light:
        """The same white from everywhere, no lamps."""
        ambient = torch.zeros(9, 3)
        ambient[0] = brightness
        return Light(ambient, torch.zeros(0, 4), torch.zeros(0, 3))

    @staticmethod
    def studio() -> Light:
        """Soft light from above and the front, a key lamp at the subject's upper left and a weak rim from behind."""
        ambient = torch.zeros(9, 3)
        ambient[0], ambient[2], ambient[3] = 0.5, 0.12, 0.08
        lamps = F.normalize(torch.tensor([[0.5, 0.55, 0.8, 0.0], [-0.7, 0.5, -0.6, 0.0]]), dim=-1)
        return Light(ambient, lamps, torch.tensor([[0.62, 0.6, 0.57], [0.3, 0.31, 0.33]]))

    def irradiance(self, normals: Tensor) -> Tensor:
        """Ambient irradiance / pi [3, M...] of surfaces with unit normals [3, M...]; never negative."""
        x, y, z = normals
        basis = torch.stack([torch.ones_like(x), x, y, z, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y])
        return (self.ambient.to(normals).T @ basis.reshape(9, -1)).clamp(min=0).reshape(normals.shape)

    def toward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Unit directions from points [3, M...] to each lamp, and its colour there.

        Returns:
            Both broadcast against [K, 3, M...]; where all lamps are far, M is 1 throughout.
        """
        lamps, colours = self.lamps.to(points), self.colours.to(points)
        spread = (1,) * (points.dim() - 1)
        place, w = lamps[:, :3].reshape(-1, 3, *spread), lamps[:, 3].reshape(-1, 1, *spread)
        bright = colours.reshape(-1, 3, *spread)
        if not bool(lamps[:, 3].any()):
            return place / place.square().sum(1, keepdim=True).sqrt(), bright
        way = place - w * points
        distance = way.square().sum(1, keepdim=True)
        # inverse squares, relative to the origin; a direction does not fall off
        fall = torch.where(w > 0, place.square().sum(1, keepdim=True) / distance, 1.0)
        return way / distance.sqrt(), bright * fall

    def to(self, device: torch.device | str) -> Light:
        """The same light on another device."""
        return Light(self.ambient.to(device), self.lamps.to(device), self.colours.to(device))
