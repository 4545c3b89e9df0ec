"""Colours of what a photo hardly shows: eyeballs, teeth, tongue, the inside of the mouth."""

from __future__ import annotations

import torch
from torch import Tensor

from gen3dface.heads.model import HeadModel

# sRGB in 0..1 under even light; later regions win
_COLOURS = {
    "eye_sockets": (0.62, 0.42, 0.37),
    "mouth_interior": (0.37, 0.16, 0.16),
    "tongue": (0.67, 0.35, 0.34),
    "teeth": (0.88, 0.84, 0.78),
    "left_eye": (0.86, 0.84, 0.82),
    "right_eye": (0.86, 0.84, 0.82),
}
_IRIS = (0.25, 0.18, 0.14)
_IRIS_COSINE = 0.92  # to the eye's axis: 5.9 mm of iris on an eyeball of 15 mm radius


def inner_parts(model: HeadModel) -> Tensor:
    """[V] bool: what lies behind lids and lips."""
    inside = torch.zeros(len(model.template), dtype=torch.bool)
    for region in _COLOURS:
        inside |= model.regions[region]
    return inside


def inner_colours(model: HeadModel, light: float = 1.0) -> Tensor:
    """Typical colours [V, 3] of the inner parts, 0 elsewhere; `light` scales their brightness."""
    colours = torch.zeros(len(model.template), 3)
    for region, colour in _COLOURS.items():
        colours[model.regions[region]] = torch.tensor(colour)
    for eye in ("left_eye", "right_eye"):
        axis = model.template - model.joints[model.joint_names.index(eye)]
        front = axis[:, 2] > _IRIS_COSINE * axis.norm(dim=-1)
        colours[model.regions[eye] & front] = torch.tensor(_IRIS)
    return (colours * light).clamp(0, 1)
