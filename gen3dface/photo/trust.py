"""Where a portrait's pixels can be laid on a surface."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.photo.portrait import Portrait

_FACE_OVER_REACH = 120  # the matte is drawn in by the face's width over this
_FLOOR = 0.6  # alpha below which a pixel is not used at all


def trusted_matte(portrait: Portrait) -> Tensor:
    """[H, W] the matte, drawn in a little so that no background bleeds onto the head."""
    matte = torch.from_numpy(portrait.matte)
    reach = 2 * max(1, round((portrait.box[2] - portrait.box[0]) / _FACE_OVER_REACH)) + 1
    inner = -F.max_pool2d(-matte[None, None], reach, 1, reach // 2)[0, 0]
    return ((inner - _FLOOR) / (1 - _FLOOR)).clamp(0, 1)
