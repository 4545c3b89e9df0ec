"""Intervals of means against the normal distribution's closed form."""

import numpy as np
import pytest

from gen3dface.evaluation.bootstrap import interval


def test_of_normal_values_it_is_the_closed_form() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    low, high = interval(values, draws=20_000)
    error = values.std() / np.sqrt(400)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.06 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.06 * error)
    low, high = interval(values, draws=20_000, level=0.68269)
    assert (high - low) / 2 == pytest.approx(error, rel=0.03)


def test_it_holds_the_true_mean_as_often_as_it_says() -> None:
    random = np.random.default_rng(2)
    spans = np.array([interval(random.normal(size=40), draws=400, level=0.9, seed=i) for i in range(400)])
    held = (spans[:, 0] <= 0) & (spans[:, 1] >= 0)
    assert held.mean() == pytest.approx(0.9, abs=0.05)


def test_the_views_of_a_head_are_no_further_evidence() -> None:
    heads = np.random.default_rng(3).normal(size=30)
    views, groups = np.repeat(heads, 16), np.repeat(np.arange(30), 16)
    assert interval(views, groups) == pytest.approx(interval(heads))
    alone = interval(views)
    assert alone[1] - alone[0] < 0.35 * (interval(heads)[1] - interval(heads)[0])  # 1 / sqrt(16)


def test_a_head_of_many_views_counts_for_many() -> None:
    groups = np.repeat(np.arange(6), [95, 1, 1, 1, 1, 1])
    values = np.where(groups == 0, 1.0, 0.0)
    low, high = interval(values, groups, draws=4000)
    assert low == 0.0  # drawn without the first head, (5/6)^6 = 33 % of the draws
    assert high > 0.95


def test_missing_values_and_too_few_heads() -> None:
    values = np.array([1.0, 2.0, np.nan, 3.0, 4.0, 5.0, np.nan])
    assert interval(values) == interval(values[np.isfinite(values)])
    groups = np.array(["a", "b", "b", "c", "d", "e", "f"])
    assert np.isfinite(interval(values, groups)).all()
    assert np.isnan(interval(values[:-2], groups[:-2])).all()
    assert np.isnan(interval(np.full(9, np.nan))).all()
    assert np.isnan(interval(np.zeros(0))).all()
