"""Agreement of adjacent views, where it is known."""

import pytest
import torch

from gen3dface.cameras import rig
from gen3dface.evaluation.consistency import adjacent_errors
from gen3dface.render import render
from tests.synthetic_head import synthetic_head


def test_renders_of_one_head_agree_and_a_tinted_view_does_not() -> None:
    head, cameras = synthetic_head(0.0), rig("head360", 96)
    images, masks = render(head.surface, head.texture, cameras)
    good = adjacent_errors(images, masks, cameras, head.surface)
    assert good.shape == (16,) and good.max() < 0.02
    tinted = images.clone()
    tinted[5] = images[5] * 0.5 + 0.4
    shift = (tinted[5] - images[5])[:, masks[5, 0] > 0.9].abs().mean().item()
    found = adjacent_errors(tinted, masks, cameras, head.surface)
    assert found[5].item() == pytest.approx(shift, rel=0.3) and found[6].item() == pytest.approx(shift, rel=0.3)
    torch.testing.assert_close(found[[0, 1, 2, 3, 4, 7]], good[[0, 1, 2, 3, 4, 7]])


def test_nothing_in_common_is_not_a_number() -> None:
    head, cameras = synthetic_head(0.0), rig("head360", 64)[[0, 8]]
    images, masks = render(head.surface, head.texture, cameras)
    assert adjacent_errors(images, masks * 0, cameras, head.surface).isnan().all()
