"""A whole synthesis: shards shared out among processes, machines or Ray's workers, in any order, to the same bytes."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from tqdm.auto import tqdm

from gen3dface.data_synth.shards import read_entry, read_manifest, shard_path
from gen3dface.data_synth.synthesis.config import SynthConfig
from gen3dface.data_synth.synthesis.generators import MakeIdentity, open_generator
from gen3dface.data_synth.synthesis.preview import PREVIEWED, contact_sheet
from gen3dface.data_synth.synthesis.shard_run import Note, fault_of, make_shard, sweep
from gen3dface.errors import DataError, Gen3DFaceError, MissingExtraError, OutputError
from gen3dface.files import write_atomically, write_failure
from gen3dface.outputs.pictures import encode

logger = logging.getLogger(__name__)

Engine = Literal["processes", "ray"]
_CONFIG, _PREVIEW = "synthesis.json", "preview.jpg"
_DEATHS = 4  # workers that may die one after the other before a run gives up


def synthesise(
    config: SynthConfig, out: Path, workers: int = 1, engine: Engine = "processes", progress: bool = True
) -> list[Note]:
    """Make what is missing of a synthesis in a folder, and make again what is damaged.

    Under `accelerate launch` or torchrun, each process makes its share.

    Args:
        workers: processes on this machine. engine: `processes`, or `ray` for a cluster (extra `scale`).

    Returns:
        Notes of the shards made now.

    Raises:
        DataError: the folder belongs to another synthesis, or too many workers died.
        OutputError: it cannot be written, or the disk is full.
    """
    config = config.settled()
    _claim(config, out)
    sweep(out)
    rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    missing = []
    for shard in tqdm(range(rank, config.shards, ranks), "looking at shards", disable=not progress or rank > 0):
        fault = fault_of(config, out, shard)
        if fault:
            logger.warning("%s; it is made again", fault)
        if fault is not None:
            missing.append(shard)
    made = _by_ray(config, out, missing) if engine == "ray" else _by_processes(config, out, missing, workers)
    seeds = sum(len(config.seeds(shard)) for shard in missing)
    notes = []
    with tqdm(total=seeds, desc="identities", unit="head", disable=not progress or rank > 0) as bar:
        for note in made:
            notes.append(note)
            bar.update(note.seeds)
            if note.made and rank == 0 and not (out / _PREVIEW).exists():
                _show(out, shard_path(out, (note.first - config.first) // config.per_shard))
    return notes


def _show(out: Path, shard: Path) -> None:
    """Some identities as a picture beside the shards. No run ends for want of it."""
    try:
        samples = [read_entry(shard, entry) for entry in read_manifest(shard).samples[:PREVIEWED]]
        write_atomically(out / _PREVIEW, encode(contact_sheet(samples), "jpeg"))
    except (Gen3DFaceError, OSError) as error:
        logger.warning("%s was not written: %s", _PREVIEW, error)


def _claim(config: SynthConfig, out: Path) -> None:
    """Note in the folder what it holds, so that nothing else is ever mixed in."""
    path = out / _CONFIG
    try:
        out.mkdir(parents=True, exist_ok=True)
        if path.exists():
            found = json.loads(path.read_text())
            if found.get("fingerprint") != config.fingerprint:
                raise DataError(f"{out} holds another synthesis ({found.get('config')}); choose another folder.")
            return
    except OSError as error:
        raise OutputError(write_failure(out, error)) from error
    except (ValueError, AttributeError) as error:
        raise DataError(f"{path} is damaged ({error}); delete it if the folder is this synthesis's.") from error
    values = {"fingerprint": config.fingerprint, "config": config.model_dump(exclude={"identities"})}
    write_atomically(path, json.dumps(values, indent=1, sort_keys=True).encode())


def _by_processes(config: SynthConfig, out: Path, shards: Sequence[int], workers: int) -> Iterator[Note]:
    if workers == 1:
        for shard in shards:
            yield _made(config, out, shard)
        return
    left, deaths = set(shards), 0
    while left:
        try:
            # started afresh: a forked torch may wait for threads that it has not got
            with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
                jobs = {pool.submit(_made, config, out, shard): shard for shard in sorted(left)}
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


def _by_ray(config: SynthConfig, out: Path, shards: Sequence[int]) -> Iterator[Note]:
    """Tasks of Ray's; those of a worker that dies are given to others."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("--engine ray needs Ray: pip install 'gen3dface[scale]'.") from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    gpus = 1 if config.generator.kind in ("panohead", "eg3d") and ray.cluster_resources().get("GPU", 0) else 0
    task: Any = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=_DEATHS)(_made)
    waiting = [task.remote(config, out.absolute(), shard) for shard in shards]
    while waiting:
        done, waiting = ray.wait(waiting)
        yield from ray.get(done)


def _made(config: SynthConfig, out: Path, shard: int) -> Note:
    """On one thread: sums in another order are other bytes, and workers share the machine by shards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return make_shard(config, out, shard, _opened(config.model_dump_json()))
    finally:
        torch.set_num_threads(threads)


@lru_cache(maxsize=1)
def _opened(config: str) -> MakeIdentity:
    """Once a process."""
    device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"
    return open_generator(SynthConfig.model_validate_json(config), device)
