"""How each view is exposed, and views brought to one exposure."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_MOST = 1.5  # times brighter or darker that a view is made: what differs by more is another thing, not its light
_SHIFT = 0.1  # most that is added to its colours
_PRIOR = 0.01  # lambda: what the views' overlaps do not tell stays as it is
_DARK = 1e-6  # share of the greatest e_n that each is taken to have at least


@dataclass(frozen=True)
class Exposures:
    """What brings the colours c of N views to what they agree on: gain * c + offset."""

    gain: Tensor  # [N, 3]
    offset: Tensor  # [N, 3]

    @classmethod
    def of(cls, gain: Tensor, offset: Tensor | None = None) -> Exposures:
        """Gains [N, 1 or 3] and offsets [N, 3], each kept within what light does."""
        gain = gain.detach().expand(-1, 3).clamp(1 / _MOST, _MOST)
        offset = torch.zeros_like(gain) if offset is None else offset.detach().clamp(-_SHIFT, _SHIFT)
        return cls(gain, offset)

    def matched(self, images: Tensor, masks: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] over white at the common exposure; the white stays. masks: [N, 1, H, W]."""
        gain, offset = (t.to(images)[..., None, None] for t in (self.gain, self.offset))
        return (gain * (images - 1 + masks) + offset * masks + 1 - masks).clamp(0, 1)


def common_gains(colours: Tensor, weights: Tensor) -> Tensor:
    """The gains [N] that bring views' colours nearest to their mean, from all overlaps at once:

        min_g  sum_v sum_n w_nv |g_n c_nv - sum_m w_mv g_m c_mv|^2 + lambda sum_n e_n (g_n - 1)^2,

    with e_n = sum_v w_nv |c_nv|^2, and b_n = sum_v w_nv |c_nv|_1 so that sum_n b_n g_n = sum_n b_n: the head as a whole
    grows neither paler nor darker.

    Args:
        colours: [N, 3, V] of points. weights: [N, V] how far each view tells of each point; a point's sum to 1 or 0.
    """
    seen = (weights[:, None] * colours).flatten(1).double()
    energy, light = (seen * colours.flatten(1)).sum(1), seen.sum(1)
    if float(light.sum()) <= 0:
        return torch.ones_like(colours[:, 0, 0])
    prior = _PRIOR * energy.clamp(min=_DARK * float(energy.max()))  # a view that tells nothing stays as it is
    apart = (energy + prior).diag() - seen @ seen.T
    system = torch.cat([torch.cat([apart, light[:, None]], 1), torch.cat([light, light.new_zeros(1)])[None]])
    wanted = torch.cat([prior, light.sum()[None]])
    return torch.linalg.solve(system, wanted)[:-1].to(colours)
