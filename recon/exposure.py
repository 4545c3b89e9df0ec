"""How each view is exposed, and views brought to one exposure."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_MOST = 1.5  # times brighter or darker that a view is made: what differs by more is another thing, not its light
_SHIFT = 0.1  # most that is added to its colours
_PRIOR = 0.03  # lambda: what the views' overlaps do not tell stays as it is
_DARK = 1e-3  # brightness below which colours are noise
_TINY = 1e-12


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


def common_gains(colours: Tensor, weights: Tensor, trust: Tensor | None = None) -> Tensor:
    """The gains g = exp(x) [N] that make views alike in what pairs of them see, from all overlaps at once:

        min_x  sum_{n<m} m_nm (x_n - x_m + log(b_nm / b_mn))^2 + lambda sum_n t_n x_n^2 sum_m m_nm,

    with m_nm = sum_v w_nv w_mv, and b_nm = sum_v w_nv w_mv |c_nv|_1 what view n shows of what m sees too. Brightnesses
    are compared, no colours: fitting these would darken the views that agree least. In the end g is scaled so that
    sum_n t_n b_n g_n = sum_n t_n b_n, b_n = sum_v w_nv |c_nv|_1: the head as a whole grows neither paler nor darker.

    Args:
        colours: [N, 3, V] of points. weights: [N, V] how far each view tells of each point; a point's sum to 1 or 0.
        trust: [N] t_n, how much each view counts (default: all alike).
    """
    weight, counts = weights.double(), torch.ones_like(weights[:, 0]) if trust is None else trust
    light = colours.double().mean(1).clamp(min=_DARK) * weight
    shared, shown = weight @ weight.T, light @ weight.T
    shared.fill_diagonal_(0)
    apart = torch.where(shared > 0, (shown / shown.T).log(), 0.0)
    mass = shared.sum(1)
    pull = _PRIOR * counts * mass + _TINY
    found = torch.linalg.solve((mass + pull).diag() - shared, -(shared * apart).sum(1))
    gain, total = found.exp(), counts * light.sum(1)
    scale = total.sum() / (total * gain).sum() if float(total.sum()) > 0 else 1.0
    return torch.where(mass > 0, scale * gain, 1.0).to(colours)
