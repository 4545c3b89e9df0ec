"""Scores of views whose errors are known."""

import numpy as np
import pytest
import torch

from gen3dface.evaluation.view_scores import AZIMUTH_BINS, ViewJudge, ViewScores, mask_iou


def test_silhouettes() -> None:
    a, b = torch.zeros(3, 1, 8, 8), torch.zeros(3, 1, 8, 8)
    a[0, :, :4], b[0, :, 2:6] = 1, 1  # 16 of 48 pixels in common
    a[1] = 0.4
    a[2], b[2] = 1, 0.6
    assert mask_iou(a, b).tolist() == pytest.approx([1 / 3, 1, 1])


def test_each_view_falls_into_one_bin() -> None:
    azimuth = np.array([0.0, 45.0, 45.5, 90.0, 91.0, 180.0])
    marks = np.arange(6.0)
    scores = ViewScores(azimuth, marks, marks, marks, np.array([0.5, np.nan, np.nan, np.nan, 0.2, np.nan]))
    found = [scores.means(low, high) for low, high in AZIMUTH_BINS]
    assert [f["psnr"] for f in found] == [0.5, 2.5, 4.5]
    assert [f["detected"] for f in found] == [0.5, 0, 0.5]
    assert found[0]["identity"] == 0.5 and np.isnan(found[1]["identity"])


def test_known_errors_come_back() -> None:
    truth = torch.full((2, 3, 64, 64), 0.5)
    made = truth + torch.tensor([0.1, 0.0]).view(2, 1, 1, 1)
    mask = torch.ones(2, 1, 64, 64)
    scores = ViewJudge()(made, mask, truth, mask, torch.tensor([-90.0, 200.0]), None)
    assert scores.azimuth.tolist() == [90, 160]
    assert scores.psnr[0] == pytest.approx(20, abs=1e-3) and scores.psnr[1] == 100
    assert scores.lpips[1] == 0 < scores.lpips[0]
    assert scores.iou.tolist() == [1, 1] and np.isnan(scores.identity).all()
