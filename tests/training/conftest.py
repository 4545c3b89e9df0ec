"""Three identities in two shards, and what is prepared of them, shared by all tests of a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gen3dface.data_synth.shards import write_shard
from gen3dface.training.config import TrainConfig, parse_train_config
from tests.data_synth.samples import random_sample
from tests.pipelines.tiny_models import SMALL

Configure = Callable[..., TrainConfig]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `shards`; `cache` fills as the tests go."""
    folder = tmp_path_factory.mktemp("training")
    write_shard(folder / "shards", 0, [random_sample("a", 0, views=4), random_sample("b", 1, views=4)])
    write_shard(folder / "shards", 1, [random_sample("c", 2, views=4)])
    return folder


def settings(folder: Path, /, **changes: Any) -> dict[str, Any]:
    """A quick run of the small tiny model; `changes` replace whole sections or merge into them."""
    base: dict[str, Any] = {
        "model": SMALL,
        "iterations": 4,
        "seed": 3,
        "precision": "no",
        "data": {"sources": [{"path": str(folder / "shards")}], "cache": str(folder / "cache"), "views": 2},
        "optimiser": {"batch": 2, "warmup": 2, "ema": 0.9},
        "checkpoint": {"steps": 2, "minutes": None, "keep": 8},
    }
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(name), dict) and name != "model"
        base[name] = {**base[name], **value} if both else value
    return base


@pytest.fixture
def configure(data: Path) -> Configure:
    """Makes configurations on the shared data."""
    return lambda **changes: parse_train_config(settings(data, **changes))
