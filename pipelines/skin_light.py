"""The light of a photo, as the skin in it tells it: so much from everywhere, more from one side, less into folds.

Skin that the photo does not show is to stand in the same light. To first order in spherical harmonics (Ramamoorthi and
Hanrahan, 2001) light comes from direction w as 1 + g . w; what of it reaches a vertex, its `Openness` says.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gen3dface.openness import Openness

_FOLDS = (1.0, 1.45, 1.6)  # powers of openness to a colour: in folds light is red, for it went through skin
_ABOVE = (0.0, 0.4, 0.0)  # what g is where skin tells nothing: most light comes from above
_PULL = 0.03  # towards that, against 1 for all of the skin
_OUTLIER = 0.1  # share of the brightness by which skin may be off before it counts less: beards, make-up, shadows
_STRONGEST = 0.9  # length of g: from nowhere comes less than nothing
_DARKEST, _BRIGHTEST = 0.3, 2.0  # of what the light's direction does to a vertex
_LIT = 0.3  # openness below which a colour in the photo says little of its skin
_OPEN = 0.1  # and below which no direction is told
_ROUNDS = 10
_FEW = 30  # vertices that tell no light
_SEEN = 0.3  # trust from which a vertex is looked at
_DARK = 1e-3  # brightness below which there is no light


def light_on_skin(colours: Tensor, trust: Tensor, found: Openness) -> Tensor:
    """g [3] of the light, by iteratively reweighted least squares with a prior.

    Args:
        colours: [V, 3] in 0..1. trust: [V] in 0..1, how far they are bare skin that the photo shows.
    """
    prior = colours.new_tensor(_ABOVE, dtype=torch.float64)
    seen = trust > _SEEN
    brightness = (colours / _folds(found.share.clamp(min=_LIT))).mean(1)[seen].double()
    if seen.sum() < _FEW or brightness.median() < _DARK:
        return prior.to(colours)
    target = brightness / brightness.median()
    share = found.share[seen, None].clamp(min=_OPEN)
    rows = torch.cat([torch.ones_like(target)[:, None], (found.direction[seen] / share).double()], 1)
    wanted = torch.cat([prior.new_ones(1), prior])
    pull = _PULL * torch.diag(prior.new_tensor([0.0, 1.0, 1.0, 1.0]))
    solution = wanted
    for _ in range(_ROUNDS):
        weight = trust[seen].double() / (1 + ((target - rows @ solution) / _OUTLIER) ** 2)
        weighted = rows.T * (weight / weight.sum())
        solution = torch.linalg.solve(weighted @ rows + pull, weighted @ target + pull @ wanted)
    light = solution[1:] / solution[0]
    return (light * (_STRONGEST / light.norm()).clamp(max=1)).to(colours)


def lit(skin: Tensor, light: Tensor, found: Openness) -> Tensor:
    """Colours [V, 3] of skin of even colours [V, 3] in the light g [3]."""
    return skin * _folds(found.share) * _turned(light, found)


def unlit(colours: Tensor, light: Tensor, found: Openness) -> Tensor:
    """The skin's even colours [V, 3], as far as its colours [V, 3] in the light g [3] tell them."""
    return colours / (_folds(found.share.clamp(min=_LIT)) * _turned(light, found))


def _folds(share: Tensor) -> Tensor:
    """[V, 3] what folds leave of even light, by openness [V]."""
    return share[:, None] ** share.new_tensor(_FOLDS)


def _turned(light: Tensor, found: Openness) -> Tensor:
    """[V, 1] how much brighter a vertex is than in even light, for the side that it looks to."""
    turned = 1 + (found.direction @ light) / found.share.clamp(min=_OPEN)
    return turned.clamp(_DARKEST, _BRIGHTEST)[:, None]
