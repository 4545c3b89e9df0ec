"""The heads of OpenPeople's character sheets from the front, both sides and the back: uncalibrated true views.

P008-P010 are for tests only: nothing in this project was trained on them.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage
from torch import Tensor

from gen3dface.assets import fetch
from gen3dface.evaluation.view_scores import mask_iou

PEOPLE = ("P008", "P009", "P010")
_FOLDER = "openpeople/data/curated/{person}/assets/{name}.jpg"
_LEFT, _TOP, _WIDTH, _HEIGHT = (72, 666, 1260, 1853), 141, 474, 500  # px of the sheet's four frames
_ANGLES = ((0.0,), (90.0, -90.0), (180.0,), (90.0, -90.0))  # the sheets' "left" and "right" are not to be relied on
_KEY = 0.09  # distance in sRGB from the grey backdrop at which a pixel is the person
_SCALES = torch.linspace(0.7, 1.3, 25)


@dataclass(frozen=True)
class Panel:
    """One true view."""

    image: Tensor  # [3, H, W] in 0..1 over white
    mask: Tensor  # [1, H, W] in 0..1
    azimuths: tuple[float, ...]  # degrees, where the camera may stand


def portrait_bytes(person: str) -> bytes:
    """The studio portrait of a person, the input."""
    with zipfile.ZipFile(fetch("openpeople")) as archive:
        return archive.read(_FOLDER.format(person=person, name="studio_portrait"))


def panels(person: str) -> list[Panel]:
    """Front, two sides, back."""
    with zipfile.ZipFile(fetch("openpeople")) as archive:
        sheet = Image.open(io.BytesIO(archive.read(_FOLDER.format(person=person, name="character_sheet"))))
    pixels = torch.from_numpy(np.asarray(sheet.convert("RGB"), np.float32) / 255).permute(2, 0, 1)
    cells = [pixels[:, _TOP : _TOP + _HEIGHT, x : x + _WIDTH] for x in _LEFT]
    return [_cut_out(cell, angles) for cell, angles in zip(cells, _ANGLES, strict=True)]


def _cut_out(cell: Tensor, azimuths: tuple[float, ...]) -> Panel:
    """Key the even grey backdrop out, whose brightness runs on smoothly from the upper corners."""
    corners = torch.cat([cell[:, :60, :60].flatten(1), cell[:, :60, -60:].flatten(1)], 1)
    apart = (cell - corners.median(1).values[:, None, None]).norm(dim=0)
    solid = ndimage.binary_fill_holes(ndimage.binary_opening((apart > _KEY).numpy(), iterations=2))
    labels, count = ndimage.label(solid)
    largest = 1 + int(np.argmax([(labels == i).sum() for i in range(1, count + 1)]))
    mask = torch.from_numpy(ndimage.gaussian_filter((labels == largest).astype(np.float32), 1.0))[None]
    return Panel(cell * mask + 1 - mask, mask, azimuths)


def aligned(panel: Panel, made_mask: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
    """The panel brought to a view by the scale and shift at which the silhouettes agree best.

    Every engine gets its own best alignment. What lies below the panel's frame is not compared.

    Args:
        made_mask: [1, S, S] coverage of the made view.

    Returns:
        the panel's image [3, S, S] over white and mask [1, S, S] in the view's place; valid [1, S, S], 1 where the
        panel has pixels; the intersection over union there.
    """
    size = made_mask.shape[-1]
    start = _box_alignment(panel.mask, made_mask)
    best: tuple[float, tuple[Tensor, Tensor, Tensor]] | None = None
    for factor in _SCALES:
        for dx in torch.linspace(-0.06, 0.06, 7):
            placed = _placed(panel, start[0] * factor, start[1] + dx, start[2], start[3], size)
            score = float(mask_iou((made_mask * placed[2])[None], (placed[1] * placed[2])[None])[0])
            if best is None or score > best[0]:
                best = score, placed
    assert best is not None
    return (*best[1], best[0])


def _box_alignment(mask: Tensor, made: Tensor) -> tuple[float, float, float, float]:
    """(panel pixels per view side, centre x, top y of the panel's head; top y of the view's), shares of the side."""
    rows, view_rows = (m[0].gt(0.5).any(1).nonzero()[:, 0] for m in (mask, made))
    columns, view_columns = (m[0].gt(0.5).any(0).nonzero()[:, 0] for m in (mask, made))
    size = made.shape[-1]
    height = float((mask.shape[1] - rows[0]) / ((view_rows[-1] - view_rows[0]).clamp(min=1) / size))
    centre = float(columns.float().mean()) - height * (float(view_columns.float().mean()) / size - 0.5)
    return height, centre / mask.shape[2], float(rows[0]) / mask.shape[1], float(view_rows[0]) / size


def _placed(
    panel: Panel, scale: Tensor | float, centre: Tensor | float, top: float, view_top: float, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Sample the panel so that `scale` of its pixels span the view's side and the tops of the heads meet."""
    height, width = panel.mask.shape[1:]
    grid = (torch.arange(size) + 0.5) / size
    x = float(centre) * width + (grid - 0.5) * float(scale)
    y = top * height + (grid - view_top) * float(scale)
    where = torch.stack(torch.meshgrid(y / height * 2 - 1, x / width * 2 - 1, indexing="ij")[::-1], -1)[None]
    stacked = torch.cat([panel.image - 1, panel.mask, torch.ones_like(panel.mask)])[None]
    found = F.grid_sample(stacked, where, align_corners=False)[0]
    below = (y < height).float()[:, None].expand(size, size)[None]  # beside and above the frame there is only backdrop
    return found[:3] + 1, found[3:4], below
