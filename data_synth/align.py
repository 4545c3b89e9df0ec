"""True heads and the estimator's: what counts when they are brought together."""

from __future__ import annotations

import torch
from torch import Tensor

from gen3dface.heads import HeadModel

_FACE_WEIGHT = 4.0  # of a vertex of the face; one of scalp, ears or neck counts 1


def skin_weights(model: HeadModel) -> Tensor:
    """[V] how much each vertex counts when two heads are brought together: outer skin, the face most."""
    weights = torch.zeros(len(model.template))
    for region in ("scalp", "ears", "neck"):
        weights[model.regions[region]] = 1.0
    weights[model.regions["face"]] = _FACE_WEIGHT
    return weights
