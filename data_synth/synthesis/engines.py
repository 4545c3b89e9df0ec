"""Who makes the missing shards: processes of this machine here, Ray's actors in `ray_engine`, to the same bytes."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from gen3dface.data_synth.prune.scoring import Scorer, open_scorer, score_shard
from gen3dface.data_synth.shards import shard_path
from gen3dface.data_synth.synthesis.config import SynthConfig
from gen3dface.data_synth.synthesis.generators import MakeIdentity, open_generator
from gen3dface.data_synth.synthesis.shard_run import Note, make_shard
from gen3dface.errors import DataError

logger = logging.getLogger(__name__)

DEATHS = 4  # workers that may die one after the other before a run gives up


@dataclass(frozen=True)
class Work:
    """What becomes of a shard.

    Args:
        fingerprint: the configuration's.
        judge: `detector`, or the absolute path of a folder with CLIP: each shard is scored for pruning as soon as it
            is made. None: not.
        whole: shards that are there already and want scores only.
    """

    config: SynthConfig
    folder: Path
    fingerprint: str
    judge: str | None = None
    whole: frozenset[int] = frozenset()

    def made(self, shard: int) -> Note | None:
        """On one thread: sums in another order are other bytes, and workers share the machine by shards.

        None for a shard that is whole already.
        """
        if shard in self.whole:
            return None
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            make = _generator(self.config.model_dump_json())
            return make_shard(self.config, self.folder, shard, make, self.fingerprint)
        finally:
            torch.set_num_threads(threads)

    def scored(self, shard: int) -> None:
        """Scores beside a shard that is there, where they are wanted."""
        path = shard_path(self.folder, shard)
        if self.judge is not None and path.exists():
            score_shard(path, _scorer(self.judge))


def scorer_name(judge: str) -> str:
    """Of the scorer that a judge makes, opened to see that it can be. Raises `CheckpointError`."""
    return _scorer(judge).name


def by_processes(work: Work, shards: Sequence[int], workers: int) -> Iterator[Note | None]:
    """Notes as shards are done, see `Work.made`. A worker that dies is replaced.

    Raises `DataError` when too many do.
    """
    if workers == 1:
        yield from (_done(work, shard) for shard in shards)
        return
    left, deaths = set(shards), 0
    while left:
        try:
            for shard, note in _pooled(work, sorted(left), workers):
                left.discard(shard)
                deaths = 0
                yield note
        except BrokenProcessPool as error:
            deaths += 1
            logger.warning("a worker died; going on with the %d shards that are left", len(left))
            if deaths > DEATHS:
                raise DataError(f"{deaths} workers died, the last with {error}; is there enough memory?") from error


def _pooled(work: Work, shards: Sequence[int], workers: int) -> Iterator[tuple[int, Note | None]]:
    """Shards and their notes as they are done. Raises `BrokenProcessPool` when a worker dies."""
    # started afresh: a forked torch may wait for threads that it has not got
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        jobs = {pool.submit(_done, work, shard): shard for shard in shards}
        try:
            for job in as_completed(jobs):
                yield jobs[job], job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # else all that waits would be made first
            raise


def _done(work: Work, shard: int) -> Note | None:
    note = work.made(shard)
    work.scored(shard)
    return note


@lru_cache(maxsize=1)
def _generator(config: str) -> MakeIdentity:
    """Once a process."""
    device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"
    return open_generator(SynthConfig.model_validate_json(config), device)


@lru_cache(maxsize=1)
def _scorer(judge: str) -> Scorer:
    """Once a process."""
    return open_scorer(judge)
