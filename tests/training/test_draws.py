"""What stands at a position depends on the seed and the position alone, and occurs as often as it should."""

from collections import Counter

import numpy as np
import pytest
import torch

from gen3dface.training.config import DataConfig, DropoutConfig, SourceConfig
from gen3dface.training.draws import Positions, choose_views, dropped_kind
from gen3dface.training.sources import Mixture
from gen3dface.training.trainer import Trainer
from tests.training.conftest import Configure

SOURCE = SourceConfig(path="x")


def test_conditions_are_dropped_at_their_rates() -> None:
    rates = DropoutConfig(all=0.1, concat=0.2, volume=0.05, clip=0.3)
    found = Counter(dropped_kind(rates, (i + 0.5) / 2000) for i in range(2000))
    assert found == {"all": 200, "concat": 400, "volume": 100, "clip": 600, "none": 700}


def test_views_are_drawn_evenly_without_repeats() -> None:
    config = DataConfig(sources=[SOURCE], views=3)
    random = np.random.default_rng(0)
    drawn = [choose_views(config, 6, random) for _ in range(2000)]
    assert all(len(set(views)) == 3 and max(views) < 6 for views in drawn)
    counts = Counter(v for views in drawn for v in views)
    assert all(abs(counts[v] - 1000) < 120 for v in range(6))
    assert choose_views(DataConfig(sources=[SOURCE]), 6, random) == list(range(6))


def test_the_photo_takes_the_place_of_a_view_as_often_as_asked() -> None:
    config = DataConfig(sources=[SOURCE], views=2, photo_view=0.25)
    random = np.random.default_rng(0)
    drawn = [choose_views(config, 6, random) for _ in range(2000)]
    assert all(len(views) == 2 for views in drawn)
    assert abs(sum(6 in views for views in drawn) - 500) < 80


def test_sources_are_mixed_by_weight_and_read_evenly() -> None:
    """Shares by weight; within a source every sample once an epoch; later positions first gives the same."""
    mixture = Mixture([[5, 5], [7]], [3.0, 1.0], seed=2, window=8)
    drawn = [mixture[p] for p in range(4000)]
    shares = Counter(source for source, _ in drawn)
    assert shares[0] / 4000 == pytest.approx(0.75, abs=0.03)
    for source, size in ((0, 10), (1, 7)):
        samples = [index for s, index in drawn if s == source]
        for epoch in range(len(samples) // size):
            assert sorted(samples[epoch * size : (epoch + 1) * size]) == list(range(size))
    fresh = Mixture([[5, 5], [7]], [3.0, 1.0], seed=2, window=8)
    assert [fresh[p] for p in (3999, 17, 2048, 0)] == [drawn[p] for p in (3999, 17, 2048, 0)]


def test_processes_cover_every_position_once(configure: Configure) -> None:
    config = configure(iterations=5, optimiser={"batch": 12, "accumulate": 2})
    whole = [p for part in Positions(config, 6, 0, 0) for p in part]
    assert whole == list(range(60))
    shared = [list(Positions(config, 2, rank, 0)) for rank in range(3)]
    assert [p for parts in zip(*shared, strict=True) for part in parts for p in part] == whole
    assert list(Positions(config, 2, 1, 3)) == shared[1][6:]
    assert [len(Positions(config, 2, 1, 3)), len(shared[1])] == [4, 10]


def test_an_item_follows_from_its_position(configure: Configure, tmp_path) -> None:
    first, second = (Trainer(configure(), tmp_path / str(i)).draws for i in range(2))
    second[9]
    for position in (4, 0):
        one, other = first[position], second[position]
        assert torch.equal(one.noise, other.noise) and torch.equal(one.head.targets, other.head.targets)
        assert (one.timestep, one.kept) == (other.timestep, other.kept)
    assert not torch.equal(first[0].noise, first[1].noise)
    assert not torch.equal(first[0].noise, Trainer(configure(seed=4), tmp_path / "2").draws[0].noise)
