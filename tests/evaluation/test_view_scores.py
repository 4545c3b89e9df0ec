"""Measures of views whose errors are known."""

import pytest
import torch

from gen3dface.evaluation.view_scores import mask_iou, psnr


def test_silhouettes() -> None:
    a, b = torch.zeros(3, 1, 8, 8), torch.zeros(3, 1, 8, 8)
    a[0, :, :4], b[0, :, 2:6] = 1, 1  # 16 of 48 pixels in common
    a[1] = 0.4
    a[2], b[2] = 1, 0.6
    assert mask_iou(a, b).tolist() == pytest.approx([1 / 3, 1, 1])


def test_a_tenth_off_is_twenty_decibels() -> None:
    truth = torch.full((2, 3, 64, 64), 0.5)
    made = truth + torch.tensor([0.1, 0.0]).view(2, 1, 1, 1)
    assert psnr(made, truth).tolist() == pytest.approx([20, 100], abs=1e-3)
