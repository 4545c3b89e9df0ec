"""Who makes the missing shards: processes of this machine, or Ray's actors on a cluster. The bytes are the same."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from gen3dface.data_synth.prune.scoring import Scorer, open_scorer, score_shard
from gen3dface.data_synth.shards import shard_path
from gen3dface.data_synth.synthesis.config import SynthConfig
from gen3dface.data_synth.synthesis.generators import MakeIdentity, open_generator
from gen3dface.data_synth.synthesis.shard_run import Note, make_shard
from gen3dface.errors import DataError, MissingExtraError

logger = logging.getLogger(__name__)

_DEATHS = 4  # workers that may die one after the other before a run gives up


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
        for shard in shards:
            yield _done(work, shard)
        return
    left, deaths = set(shards), 0
    while left:
        try:
            # started afresh: a forked torch may wait for threads that it has not got
            with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
                jobs = {pool.submit(_done, work, shard): shard for shard in sorted(left)}
                try:
                    for job in as_completed(jobs):
                        note = job.result()
                        left.discard(jobs[job])
                        deaths = 0
                        yield note
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)  # else all that waits would be made first
                    raise
        except BrokenProcessPool as error:
            deaths += 1
            logger.warning("a worker died; going on with the %d shards that are left", len(left))
            if deaths > _DEATHS:
                raise DataError(f"{deaths} workers died, the last with {error}; is there enough memory?") from error


def by_ray(work: Work, shards: Sequence[int]) -> Iterator[Note | None]:
    """Notes as shards are done: Ray Data streams them through actors that make, on GPUs where the generator is a
    network and there are any, and others that score. The work of an actor that dies is done by another."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("--engine ray needs Ray Data: pip install 'gen3dface[scale]'.") from error
    if not shards:
        return
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    work = replace(work, folder=work.folder.absolute())
    ray.data.DataContext.get_current().enable_progress_bars = False
    found = ray.cluster_resources()
    gpus = found.get("GPU", 0) if work.config.generator.kind in ("panohead", "eg3d") else 0
    makers = int(gpus or max(1, found["CPU"] - (work.judge is not None)))
    actors: dict[str, Any] = {"fn_constructor_args": (work,), "num_cpus": 1}
    rows: Any = ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
    rows = rows.map(_Maker, concurrency=(1, makers), num_gpus=1 if gpus else 0, **actors)
    if work.judge is not None:
        rows = rows.map(_Judge, concurrency=(1, max(1, makers // 4)), **actors)
    for row in rows.iter_rows():
        yield Note(**json.loads(row["note"])) if row["note"] else None


class _Maker:
    """Of Ray's: makes shards."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        note = self._work.made(int(row["shard"]))
        return {"shard": row["shard"], "note": json.dumps(asdict(note)) if note else ""}


class _Judge(_Maker):
    """Of Ray's: scores shards."""

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        self._work.scored(int(row["shard"]))
        return row


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
