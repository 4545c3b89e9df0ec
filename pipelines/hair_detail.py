"""Strands for hair that the photo does not show: patches of the hair that it does, quilted round the head.

Only the fine structure is taken (log-brightness less its own blur); the colour beneath comes from the smooth
completion. Patches are laid at random with soft edges; dividing by the root of the summed squared weights keeps the
contrast where they overlap (Heitz and Neyret, 2018, "High-performance by-example noise").
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.photo import Portrait
from gen3dface.photo.parts import HAIR
from gen3dface.render import box_mean, sample_image

_RESOLUTION = 1500.0  # px a metre of the quilt
_WIDTH, _HEIGHT = 0.72, 0.48  # metres: round the head, and from below the collar to above the hair
_PATCH = 0.024  # metres, side of a patch
_COARSE = 0.005  # metres, blur that separates strands from shading
_STEP = 0.33  # of a patch between neighbours
_CANDIDATES = 400
_COVERED = 0.97  # share of a patch that must be hair
_STRONGEST = 0.7  # log-brightness
_CONTRAST = 0.75  # of the photo's: hair seen from behind is lit more evenly
_CROWN_FROM, _CROWN_TO = 0.7, 1.1  # radians of elevation over which the flat layer takes over


def hair_detail(portrait: Portrait, camera: Cameras, points: Tensor) -> Tensor:
    """Factors [P, 1] that give flat hair colours at world points [P, 3] the photo's strands; 1 if it shows no hair."""
    image, hair = _resampled(portrait, camera)
    detail = _fine_structure(image, hair)
    corners, side = _whole_patches(hair)
    if len(corners) == 0:
        return torch.ones(len(points), 1)
    quilt = _quilt(detail, corners, side, np.random.default_rng(0))
    log_factor = _look_up(quilt[None], points)
    return (_CONTRAST * log_factor).clamp(-_STRONGEST, _STRONGEST).exp()


def _look_up(quilt: Tensor, points: Tensor) -> Tensor:
    """The quilt [1, h, w] at world points: wrapped round the head; laid flat on the crown, where that would pinch."""
    height, width = quilt.shape[-2:]
    x, y, z = points.unbind(-1)
    azimuth = torch.atan2(x, z)
    around = torch.stack([(azimuth / (2 * torch.pi) + 0.5) * width, (_HEIGHT / 2 - y) * _RESOLUTION], -1)
    above = torch.stack([width / 2 + x * _RESOLUTION, height / 2 + z * _RESOLUTION], -1)
    crown = ((torch.atan2(y, torch.hypot(x, z)) - _CROWN_FROM) / (_CROWN_TO - _CROWN_FROM)).clamp(0, 1)[:, None]
    # variance-preserving: two independent looks
    return (sample_image(quilt, around) * (1 - crown) + sample_image(quilt, above) * crown) / torch.hypot(
        1 - crown, crown
    )


def _resampled(portrait: Portrait, camera: Cameras) -> tuple[Tensor, Tensor]:
    """Grey log-brightness and hair mask [h, w] at the quilt's scale."""
    per_metre = (camera.intrinsics[0, 0, 0] / camera.centers[0].norm()).item()
    scale = _RESOLUTION / per_metre
    size = (max(8, round(portrait.height * scale)), max(8, round(portrait.width * scale)))
    grey = torch.from_numpy(portrait.image.copy()).float().mean(-1) / 255
    mask = torch.from_numpy((portrait.parts == HAIR) & (portrait.matte > 0.95)).float()
    antialias = scale < 1
    grey, mask = (F.interpolate(t[None, None], size, mode="bilinear", antialias=antialias)[0, 0] for t in (grey, mask))
    return (grey + 0.03).log(), mask


def _fine_structure(image: Tensor, hair: Tensor) -> np.ndarray:
    """What is left of the hair's log-brightness after its local mean."""
    weight = hair + 1e-4
    reach = round(_COARSE * _RESOLUTION)

    def mean(values: Tensor) -> Tensor:
        return box_mean(box_mean(values, reach), reach)

    return ((image - mean(image * weight) / mean(weight)) * (hair > 0.5)).numpy()


def _whole_patches(hair: Tensor) -> tuple[np.ndarray, int]:
    """Corners [K, 2] of patches that lie wholly in hair, and their side in px; smaller ones where hair is scarce."""
    for shrink in (1.0, 0.6, 0.35):
        side = round(_PATCH * _RESOLUTION * shrink)
        if min(hair.shape) > side:
            share = F.avg_pool2d(F.avg_pool2d((hair > 0.5).float()[None, None], (side, 1), 1), (1, side), 1)[0, 0]
            corners = (share > _COVERED).nonzero().numpy()
            if len(corners) >= 16:
                return corners, side
    return np.zeros((0, 2), np.int64), 0


def _quilt(detail: np.ndarray, corners: np.ndarray, side: int, rng: np.random.Generator) -> Tensor:
    """A picture [h, w] of random patches, seamless from left to right."""
    height, width = round(_HEIGHT * _RESOLUTION), round(_WIDTH * _RESOLUTION)
    ramp = torch.sin((torch.arange(side) + 0.5) / side * torch.pi)
    window = ramp[:, None] * ramp
    chosen = corners[rng.integers(len(corners), size=_CANDIDATES)]
    patches = window * torch.stack([torch.from_numpy(detail[y : y + side, x : x + side]) for y, x in chosen])
    step = max(1, round(side * _STEP))
    above = (side + 1) // 2  # px of the first patch above the quilt
    rows, columns = len(range(-above, height, step)), len(range(0, width, step))
    laid = patches[rng.integers(_CANDIDATES, size=rows * columns)]

    def overlapped(values: Tensor) -> Tensor:
        size = ((rows - 1) * step + side, (columns - 1) * step + side)
        whole = F.fold(values.flatten(1).T[None], size, side, stride=step)[0, 0, above : above + height]
        whole[:, : size[1] - width] += whole[:, width:]
        return whole[:, :width]

    return overlapped(laid) / (overlapped((window**2).expand_as(laid)) + 1e-6).sqrt()
