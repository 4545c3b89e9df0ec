"""Enlarging views with another's detail."""

import pytest
import torch

from gen3dface.cameras import rig
from gen3dface.errors import CameraError
from gen3dface.pipelines import MultiViewOutput, project_views
from gen3dface.pipelines.detail import with_detail
from tests.synthetic_head import synthetic_head


def _views(size: int) -> MultiViewOutput:
    head = synthetic_head(0.0)
    return project_views(head.portrait, head.fit, rig("head360", size)[[0, 3]], model=head.model)


def test_reduced_views_come_back() -> None:
    sharp = _views(128)
    images = torch.nn.functional.interpolate(sharp.images, (32, 32), mode="bilinear", antialias=True)
    masks = torch.nn.functional.interpolate(sharp.masks, (32, 32), mode="bilinear", antialias=True)
    made = with_detail(MultiViewOutput(images, masks, rig("head360", 32)[[0, 3]], sharp.head), sharp)
    assert made.images.shape == sharp.images.shape
    assert (made.images - sharp.images).abs().mean() < 2e-3
    blurred = torch.nn.functional.interpolate(images, (128, 128), mode="bicubic")
    assert (blurred - sharp.images).abs().mean() > 5 * (made.images - sharp.images).abs().mean()


def test_the_views_own_colours_win() -> None:
    sharp = _views(64)
    flat = torch.full((2, 3, 32, 32), 0.25)
    small = torch.nn.functional.interpolate(sharp.masks, (32, 32), mode="bilinear", antialias=True)
    made = with_detail(MultiViewOutput(flat, small, rig("head360", 32)[[0, 3]]), sharp)
    coarse = torch.nn.functional.interpolate(made.images, (8, 8), mode="area")
    assert (coarse - 0.25).abs().mean() < 0.01


def test_where_outlines_differ_there_is_no_ghost() -> None:
    sharp = _views(64)
    empty = MultiViewOutput(torch.ones(2, 3, 32, 32), torch.zeros(2, 1, 32, 32), rig("head360", 32)[[0, 3]])
    made = with_detail(empty, sharp)
    covered = torch.nn.functional.avg_pool2d(sharp.masks, 5, 1, 2) == 1
    assert (made.images[covered.expand(-1, 3, -1, -1)] == 1).all()


def test_other_places_are_refused() -> None:
    sharp = _views(64)
    with pytest.raises(CameraError, match="not taken"):
        with_detail(MultiViewOutput(sharp.images, sharp.masks, rig("head360", 64)[[0, 4]]), sharp)
