"""Where samples come from, and which of them stands at a position of the run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from gen3dface.data_synth.sample import TrainingSample
from gen3dface.data_synth.shard_set import ShardSet, ShuffledOrder
from gen3dface.pipelines.conditions import Networks
from gen3dface.training.config import DataConfig, SourceConfig
from gen3dface.training.facescape import FaceScape
from gen3dface.training.latents import LatentFolder, keeps_latents
from gen3dface.training.prepared import PackedHead, Preparation, PreparedFolder, chosen_views

_BLOCK = 1024  # positions whose sources are drawn together


class Source(Protocol):
    """Samples by number."""

    keys: list[str]
    sizes: list[int]  # samples of each part that is best read together
    data_hash: str
    licences: list[str]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> TrainingSample: ...


def open_source(config: SourceConfig) -> Source:
    """The samples of a source. Raises `DataError` when they are missing or damaged."""
    return ShardSet(config.path, config.kept) if config.kind == "shards" else FaceScape(config.path, config.fold)


def data_hash(sources: Sequence[Source]) -> str:
    """Of all sources together."""
    return hashlib.sha256("".join(s.data_hash for s in sources).encode()).hexdigest()


class Heads:
    """Packed heads of one source, from the cache or computed when asked for."""

    def __init__(self, source: Source, preparation: Preparation, cache: str | None) -> None:
        self.source, self.preparation = source, preparation
        self.folder = PreparedFolder(Path(cache) / preparation.key(source.data_hash)) if cache else None
        self.latents: LatentFolder | None = None

    def fill_latents(self, nets: Networks, rank: int = 0, ranks: int = 1) -> None:
        """After `fill` by all processes: encode the true views of this process's share, where that is worth it."""
        if self.folder is not None and keeps_latents(nets):
            self.latents = LatentFolder(self.folder, nets.vae)
            self.latents.fill(self.source.keys, nets, rank, ranks)

    def fill(self, workers: int, rank: int = 0, ranks: int = 1) -> None:
        """Prepare this process's share of the heads that the cache lacks."""
        if self.folder is None:
            return
        # shared out by number, not among those missing: the others are writing while this process looks
        missing = [i for i, key in enumerate(self.source.keys) if i % ranks == rank and key not in self.folder]
        if missing:
            loader = DataLoader(_Filling(self, missing), batch_size=None, num_workers=workers)
            for _ in tqdm(loader, desc="preparing heads", disable=rank > 0):
                pass

    def get(self, index: int, choose: Chooser) -> PackedHead:
        """Head number `index` with the views that `choose` picks."""
        key = self.source.keys[index]
        if self.folder is None:
            head = self.preparation(self.source[index])
            return chosen_views(head, choose(len(head.targets) - 1))
        views = choose(self.folder.views(key) - 1)
        head = self.folder.get(key, views)
        return head if self.latents is None else replace(head, latents=self.latents.get(key, views))


class Chooser(Protocol):
    """Numbers of the views to be used, of `count` true ones and the photo's own, which has the number `count`."""

    def __call__(self, count: int) -> Sequence[int]: ...


class _Filling(Dataset[int]):
    def __init__(self, heads: Heads, missing: list[int]) -> None:
        self.heads, self.missing = heads, missing

    def __len__(self) -> int:
        return len(self.missing)

    def __getitem__(self, place: int) -> int:
        index = self.missing[place]
        assert self.heads.folder is not None
        self.heads.folder.put(self.heads.source.keys[index], self.heads.preparation(self.heads.source[index]))
        return index


class Mixture:
    """Which source and sample stand at each position of an endless sequence, known without those before it.

    A position draws its source by weight; each source goes through its samples in its own shuffled order, none twice
    in an epoch and none left out.
    """

    def __init__(self, sizes: Sequence[Sequence[int]], weights: Sequence[float], seed: int, window: int) -> None:
        total = sum(weights)
        self._shares = [w / total for w in weights]
        self._seed = seed
        self._orders = [ShuffledOrder(s, seed + 1 + i, window) for i, s in enumerate(sizes)]
        self._counts = [np.zeros(len(sizes), np.int64)]  # of each source before each block
        self._block = lru_cache(maxsize=4)(self._drawn)

    @classmethod
    def of(cls, sources: Sequence[Source], config: DataConfig, seed: int) -> Mixture:
        """Of opened sources."""
        return cls([s.sizes for s in sources], [s.weight for s in config.sources], seed, config.window)

    def __getitem__(self, position: int) -> tuple[int, int]:
        """Numbers of the source and of its sample."""
        block, place = divmod(position, _BLOCK)
        drawn = self._block(block)
        source = int(drawn[place])
        before = int(self._before(block)[source]) + int((drawn[:place] == source).sum())
        return source, self._orders[source][before]

    def _drawn(self, block: int) -> NDArray[np.int64]:
        random = np.random.default_rng([self._seed, block])
        return random.choice(len(self._shares), size=_BLOCK, p=self._shares)

    def _before(self, block: int) -> NDArray[np.int64]:
        while len(self._counts) <= block:
            drawn = self._drawn(len(self._counts) - 1)
            self._counts.append(self._counts[-1] + np.bincount(drawn, minlength=len(self._shares)))
        return self._counts[block]
