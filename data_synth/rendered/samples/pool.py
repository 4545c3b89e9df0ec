"""Many samples at once: worker processes, one thread each, results in the order of their seeds."""

from __future__ import annotations

import logging
import multiprocessing
import pickle
from collections import deque
from collections.abc import Iterable, Iterator, Sized
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from gen3dface.data_synth.rendered.people.skin_library import load_skins
from gen3dface.data_synth.rendered.samples.make import make_sample
from gen3dface.data_synth.sample import TrainingSample
from gen3dface.errors import EstimationError

logger = logging.getLogger(__name__)

_AHEAD = 2  # samples in the making for each worker


def make_samples(
    seeds: Iterable[int],
    workers: int = 1,
    *,
    views: str = "head360",
    size: int = 128,
    skins: str | Path | None = None,
    progress: bool = True,
) -> Iterator[TrainingSample]:
    """`make_sample` of each seed, in their order, the same whatever the number of workers.

    A seed whose every attempt is too odd to be fitted is left out and logged. `skins` is a folder that `bake_skins`
    wrote (default: the cache). Workers are started afresh ("spawn"), so a script that calls this needs the usual
    `if __name__ == "__main__"`; with 0 workers everything happens in this process.
    """
    load_skins(skins)  # bake once, before the workers ask for it
    make = partial(_packed, views=views, size=size, skins=skins)
    total = len(seeds) if isinstance(seeds, Sized) else None
    with tqdm(total=total, desc="rendered people", unit="person", disable=not progress) as bar:
        for packed in map(make, seeds) if workers == 0 else _in_order(make, iter(seeds), workers):
            bar.update()
            if packed is not None:
                sample: TrainingSample = pickle.loads(packed)  # of our own worker
                yield sample


def _packed(seed: int, views: str, size: int, skins: str | Path | None) -> bytes | None:
    """One sample as plain bytes: tensors sent as such would each hold a file descriptor open."""
    try:
        return pickle.dumps(make_sample(seed, views, size, load_skins(skins)))
    except EstimationError as error:
        logger.warning("%s", error)
        return None


def _in_order(make: Any, seeds: Iterator[int], workers: int) -> Iterator[bytes | None]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_one_thread) as pool:
        waiting: deque[Future[bytes | None]] = deque()
        try:
            waiting.extend(pool.submit(make, seed) for seed in islice(seeds, _AHEAD * workers))
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(pool.submit(make, seed) for seed in islice(seeds, 1))
        finally:
            for future in waiting:
                future.cancel()


def _one_thread() -> None:
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
