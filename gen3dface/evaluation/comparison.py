"""Made views beside true ones, pixel for pixel, whether the true ones are calibrated or not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.evaluation.cases import Case
from gen3dface.evaluation.openpeople import Panel, aligned
from gen3dface.pipelines.output import MultiViewOutput

_CHIN = -0.13  # metres below the head's centre: shoulders are not compared with uncalibrated views


@dataclass(frozen=True)
class Compared:
    """N views to be scored; the true ones are None where nothing is known of them."""

    images: Tensor  # [N, 3, S, S] in 0..1 over white
    masks: Tensor  # [N, 1, S, S]
    azimuths: Tensor  # [N] degrees
    true_images: Tensor | None = None
    true_masks: Tensor | None = None


def compared(case: Case, views: MultiViewOutput, white_outside: bool = False, itself: bool = False) -> Compared:
    """Pair a system's views with the truth.

    Args:
        white_outside: made pixels become white where the true view is empty (Morphable Diffusion's protocol).
        itself: the uncalibrated true views take the made ones' place.
    """
    if case.panels:
        return _with_panels(case, views, itself)
    images, masks = views.tensor().float(), views.masks.float()
    if white_outside and case.masks is not None:
        covered = case.masks > 0
        images, masks = torch.where(covered, images, 1.0), torch.where(covered, masks, 0.0)
    return Compared(images, masks, views.cameras.azimuths, case.images, case.masks)


def _with_panels(case: Case, views: MultiViewOutput, itself: bool) -> Compared:
    parts = [_beside_panel(panel, views, itself) for panel in case.panels]
    images, masks, azimuths, true_images, true_masks = (torch.stack(column) for column in zip(*parts, strict=True))
    return Compared(images, masks, azimuths, true_images, true_masks)


def _beside_panel(panel: Panel, views: MultiViewOutput, itself: bool) -> tuple[Tensor, ...]:
    """Of the views that a panel may show, the one whose silhouette fits best; what it does not show is white."""
    azimuths = views.cameras.azimuths.round().tolist()
    fits = []
    for angle in panel.azimuths:
        index = azimuths.index(angle if angle in azimuths else -angle)
        fits.append((aligned(panel, views.masks[index]), index))
    (image, mask, valid, _), index = max(fits, key=lambda fit: fit[0][3])
    valid = valid * _above_chin(views.cameras[[index]])
    true = image * valid + 1 - valid, mask * valid
    made = views.tensor()[index] * valid + 1 - valid, views.masks[index] * valid
    return *(true if itself else made), views.cameras.azimuths[index], *true


def _above_chin(camera: Cameras) -> Tensor:
    """[1, S, S], 1 above the chin."""
    line = camera.project(torch.tensor([[0.0, _CHIN, 0.0]]))[0][0, 0, 1]
    rows = torch.arange(camera.height) + 0.5 < line
    return rows.float()[:, None].expand(camera.height, camera.width)[None]
