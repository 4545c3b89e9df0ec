"""`ShardSet`: the samples of many shards by number, and the order in which training goes through them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gen3dface.data_synth.sample import TrainingSample
from gen3dface.data_synth.shard_store import open_store
from gen3dface.data_synth.shards import Entry
from gen3dface.errors import DataError

_MOST_KEPT_BYTES = 1 << 30


class ShardSet:
    """All samples of a folder's shards, numbered shard by shard.

    Args:
        folder: a folder, or a URL that fsspec reads (https, s3, gs, ...): samples are then streamed one by one.
        kept: the `kept.json` of a selection, if not all are wanted.

    Raises:
        DataError: there are no shards, a manifest is missing or damaged, a shard is not as long as its manifest says,
            or an identity is in two of them.
    """

    def __init__(self, folder: str | os.PathLike[str], kept: str | os.PathLike[str] | None = None) -> None:
        self._store = open_store(folder)
        shards = self._store.names()
        if not shards:
            raise DataError(f"There are no shards (*.tar) in {folder}.")
        manifests = [self._store.manifest(shard) for shard in shards]
        for shard, manifest in zip(shards, manifests, strict=True):
            if (size := self._store.size(shard)) != manifest.bytes:
                raise DataError(f"{folder}/{shard} has {size} bytes, its manifest says {manifest.bytes}.")
        chosen = None if kept is None else read_kept(kept)
        groups = [[e for e in m.samples if chosen is None or e.key in chosen] for m in manifests]
        self.sizes = [len(group) for group in groups if group]
        if not self.sizes:
            raise DataError(f"None of the identities in {folder} is in {kept}.")
        self._entries: list[tuple[str, Entry]] = [
            (shard, entry) for shard, group in zip(shards, groups, strict=True) for entry in group
        ]
        self.keys = [entry.key for _, entry in self._entries]
        twice = sorted({key for key in self.keys if self.keys.count(key) > 1}) if self._repeats() else []
        if twice:
            raise DataError(f"Identities {twice[:5]} are in {folder} more than once.")
        self.licences = sorted({name for manifest in manifests for name in manifest.licences})
        content = [m.sha256 for m in manifests] + ([] if chosen is None else sorted(self.keys))
        self.data_hash = hashlib.sha256("".join(content).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> TrainingSample:
        return self._store.sample(*self._entries[index])

    def stream(
        self, seed: int, start: int = 0, stop: int | None = None, rank: int = 0, ranks: int = 1, window: int = 8
    ) -> Iterator[TrainingSample]:
        """Samples at positions `start` to `stop` (without end when None) of the shuffled, endless sequence.

        Position p belongs to process p mod `ranks`; all of them together see every sample once an epoch, whatever
        their number, and a run that stopped goes on at the position it had reached.
        """
        order = ShuffledOrder(self.sizes, seed, window)
        position = start
        while stop is None or position < stop:
            if position % ranks == rank:
                yield self[order[position]]
            position += 1

    def _repeats(self) -> bool:
        return len(set(self.keys)) < len(self.keys)


def read_kept(path: str | os.PathLike[str]) -> frozenset[str]:
    """The identities that a `kept.json` lists. Raises `DataError` when it is missing or damaged."""
    try:
        if os.stat(path).st_size > _MOST_KEPT_BYTES:
            raise DataError(f"{path} is too large for a list of identities.")
        with open(path, "rb") as file:
            return frozenset(str(key) for key in json.load(file)["kept"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} lists no identities ({error!r}); `gen3dface synth prune` makes it.") from error


class ShuffledOrder:
    """An endless sequence of sample numbers, shuffled anew each epoch; any position is known without those before it.

    Args:
        sizes: samples of each shard. seed: of the shuffling.
        window: shards whose samples are shuffled together; they are read about once, one window after the other.
    """

    def __init__(self, sizes: Sequence[int], seed: int, window: int = 8) -> None:
        if not sizes or min(sizes) < 1 or window < 1:
            raise DataError(f"An order needs shards with samples and a window, got sizes {list(sizes)}, {window}.")
        self._sizes, self._seed, self._window = list(sizes), seed, window
        self.epoch_length = sum(sizes)
        self._epoch = lru_cache(maxsize=2)(self._shuffled)

    def __getitem__(self, position: int) -> int:
        epoch, place = divmod(position, self.epoch_length)
        return int(self._epoch(epoch)[place])

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        random = np.random.default_rng([self._seed, epoch])
        starts = np.concatenate([[0], np.cumsum(self._sizes)])
        shards = random.permutation(len(self._sizes))
        windows = [shards[i : i + self._window] for i in range(0, len(shards), self._window)]
        numbers = [np.concatenate([np.arange(starts[s], starts[s + 1]) for s in window]) for window in windows]
        return np.concatenate([random.permutation(group) for group in numbers])
