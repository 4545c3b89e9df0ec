"""Taking a photo's own light off the colours of a surface.

Irradiance on a convex, matte surface is all but a polynomial of order 2 in the normal (Ramamoorthi and Hanrahan 2001).
Fitted to the brightness of skin, it is the portrait's light up to a scale; divided out, albedo stays.
"""

from __future__ import annotations

import torch
from torch import Tensor

STRENGTH = 0.8  # the fit also explains some of the face itself, so less than all of it is taken off
_DARKEST, _BRIGHTEST = 0.62, 1.6  # limits of the light, relative to its median


def harmonics(normals: Tensor) -> Tensor:
    """[..., 9] the polynomials of order 2 of unit normals [..., 3] (constant factors left out)."""
    x, y, z = normals.unbind(-1)
    return torch.stack([torch.ones_like(x), x, y, z, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], -1)


def fit_light(brightness: Tensor, normals: Tensor, rounds: int = 3) -> Tensor:
    """Weights [9] of `harmonics` that explain linear brightness [P] on normals [P, 3].

    Least squares, repeated without the points that lie more than 25 % off (marks, hair, shadows); ridge for the parts
    of the sphere that nobody saw.
    """
    basis = harmonics(normals.double())
    values = brightness.double()
    keep = torch.ones_like(values)
    ridge = 1e-3 * len(values) * torch.eye(9, dtype=torch.float64)
    ridge[0, 0] = 0
    weights = basis.new_zeros(9)
    for _ in range(rounds):
        weighted = basis * keep[:, None]
        weights = torch.linalg.solve(weighted.T @ basis + ridge, weighted.T @ values)
        keep = (((basis @ weights) / values.clamp(min=1e-4) - 1).abs() < 0.25).double()
    return weights


def delight(colour: Tensor, normals: Tensor, weights: Tensor, strength: float = STRENGTH) -> Tensor:
    """Linear colours [P, 3] without the light of `fit_light`, at the brightness of its median."""
    light = harmonics(normals.double()) @ weights
    relative = (light / light.median()).clamp(_DARKEST, _BRIGHTEST).to(colour)
    return colour / relative[:, None] ** strength
