"""What stands at a position of the run: one head, some of its views, and everything that is random about a step.

All of it follows from the seed and the position alone, so it is the same however many processes share the work, and a
run that was killed goes on exactly as it would have gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from gen3dface.training.config import DataConfig, DropoutConfig, TrainConfig
from gen3dface.training.objective import timestep_of
from gen3dface.training.prepared import PackedHead
from gen3dface.training.sources import Heads, Mixture

# which of (tokens, input view and projected photo, volumes) are kept
KEPT: dict[str, tuple[bool, bool, bool]] = {
    "all": (False, False, False),
    "concat": (True, False, True),
    "volume": (True, True, False),
    "clip": (False, True, True),
    "none": (True, True, True),
}


@dataclass(frozen=True)
class Item:
    """One head of a batch."""

    head: PackedHead  # with N views
    noise: Tensor  # [N, C, h, w] unit
    timestep: int
    kept: tuple[bool, bool, bool]  # of (tokens, input view and projected photo, volumes)


class Draws(Dataset[Item]):
    """Items by position.

    Args:
        heads: of each source. latent_shape: C, h, w. timesteps: of the noise schedule.
    """

    def __init__(
        self,
        config: TrainConfig,
        heads: Sequence[Heads],
        mixture: Mixture,
        latent_shape: tuple[int, int, int],
        timesteps: int,
    ) -> None:
        self.config, self.heads, self.mixture = config, list(heads), mixture
        self.latent_shape, self.timesteps = latent_shape, timesteps

    def __getitem__(self, position: int) -> Item:
        random = np.random.default_rng([self.config.seed, 1, position])
        kept = KEPT[dropped_kind(self.config.dropout, random.random())]
        timestep = timestep_of(random.random(), self.timesteps, self.config.objective.timestep_power)
        source, index = self.mixture[position]
        head = self.heads[source].get(index, lambda count: choose_views(self.config.data, count, random))
        generator = torch.Generator().manual_seed(int(random.integers(2**63)))
        noise = torch.randn(len(head.targets), *self.latent_shape, generator=generator)
        return Item(head, noise, timestep, kept)


class Positions:
    """Positions of one process's parts: step by step, `accumulate` parts a step. Sized as the rest of the run."""

    def __init__(self, config: TrainConfig, share: int, rank: int, start: int) -> None:
        self.config, self.share, self.rank, self.start = config, share, rank, start

    def __len__(self) -> int:
        return (self.config.iterations - self.start) * self.config.optimiser.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        settings = self.config.optimiser
        ranks = settings.batch // (self.share * settings.accumulate)
        for step in range(self.start, self.config.iterations):
            for part in range(settings.accumulate):
                first = step * settings.batch + (part * ranks + self.rank) * self.share
                yield list(range(first, first + self.share))


def dropped_kind(rates: DropoutConfig, uniform: float) -> str:
    """Which kind of dropout a uniform number in 0..1 means, `none` included."""
    for kind in ("all", "concat", "volume", "clip"):
        uniform -= getattr(rates, kind)
        if uniform < 0:
            return kind
    return "none"


def choose_views(config: DataConfig, count: int, random: np.random.Generator) -> list[int]:
    """Numbers of `config.views` of `count` views; the photo's own has the number `count`."""
    wanted = count if config.views is None else min(config.views, count)
    chosen = sorted(random.choice(count, wanted, replace=False).tolist())
    if random.random() < config.photo_view:
        chosen[-1] = count
    return chosen
