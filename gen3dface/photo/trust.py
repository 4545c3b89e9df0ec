"""Where a portrait's pixels can be laid on a surface."""

from __future__ import annotations

import torch
from torch import Tensor

from gen3dface.photo.portrait import Portrait
from gen3dface.render import box_max, ramp

_FACE_OVER_REACH = 120  # the matte is drawn in by the face's width over this
_FLOOR = 0.6  # alpha below which a pixel is not used at all


def trusted_matte(portrait: Portrait) -> Tensor:
    """[H, W] the matte, drawn in a little so that no background bleeds onto the head."""
    matte = torch.from_numpy(portrait.matte)
    reach = max(1, round((portrait.box[2] - portrait.box[0]) / _FACE_OVER_REACH))
    return ramp(-box_max(-matte, reach), (_FLOOR, 1))
