"""A whole synthesis: shards shared out among processes, machines or Ray's workers, in any order, to the same bytes."""

from __future__ import annotations

import json
import logging
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

from tqdm.auto import tqdm

from gen3dface.data_synth.prune.scoring import DETECTOR, is_scored
from gen3dface.data_synth.shards import read_entry, read_manifest, shard_path
from gen3dface.data_synth.synthesis.config import SynthConfig
from gen3dface.data_synth.synthesis.engines import Work, by_processes, scorer_name
from gen3dface.data_synth.synthesis.preview import PREVIEWED, contact_sheet
from gen3dface.data_synth.synthesis.ray_engine import by_ray
from gen3dface.data_synth.synthesis.shard_run import Note, fault_of, sweep
from gen3dface.errors import ConfigError, DataError, Gen3DFaceError, OutputError
from gen3dface.files import write_atomically, write_failure
from gen3dface.outputs.pictures import encode

logger = logging.getLogger(__name__)

Engine = Literal["processes", "ray"]
_CONFIG, _PREVIEW = "synthesis.json", "preview.jpg"


def synthesise(
    config: SynthConfig,
    out: Path,
    workers: int = 1,
    engine: Engine = "processes",
    judge: str | None = None,
    progress: bool = True,
) -> list[Note]:
    """Make what is missing of a synthesis in a folder, and make again what is damaged.

    Under `accelerate launch` or torchrun, each process makes its share.

    Args:
        workers: processes on this machine. engine: `processes`, or `ray` for a cluster (extra `scale`).
        judge: `detector`, or a folder with CLIP: score for pruning too, also what is there already.

    Returns:
        Notes of the shards made now.

    Raises:
        CheckpointError: the judge's folder holds no CLIP; nothing was made then.
        ConfigError: the environment's RANK or WORLD_SIZE is no number.
        DataError: the folder belongs to another synthesis, or too many workers died.
        OutputError: it cannot be written, or the disk is full.
    """
    asked, config = config.identities, config.settled()
    if config.identities < asked:
        logger.warning("there are %d captures for the %d identities", config.identities, asked)
    judge = judge if judge in (None, DETECTOR) else str(Path(judge).absolute())
    scorer = scorer_name(judge) if judge else None
    rank, ranks = _own_rank()
    hidden = not progress or rank > 0
    fingerprint = config.fingerprint
    _claim(config, fingerprint, out)
    sweep(out)
    work = Work(config, out, fingerprint, judge)
    missing, unscored = _wanted(work, range(rank, config.shards, ranks), scorer, hidden)
    work, shards = replace(work, whole=frozenset(unscored)), sorted([*missing, *unscored])
    made = by_ray(work, shards) if engine == "ray" else by_processes(work, shards, workers)
    notes, seeds = [], sum(len(config.seeds(shard)) for shard in missing)
    with tqdm(total=seeds, desc="identities", unit="head", disable=hidden) as bar:
        for note in made:
            bar.update(note.seeds if note else 0)
            if note is None:
                continue
            notes.append(note)
            if note.made and rank == 0 and not (out / _PREVIEW).exists():
                _show(out, shard_path(out, (note.first - config.first) // config.per_shard))
    return notes


def _own_rank() -> tuple[int, int]:
    """This process's number, and how many there are. Raises `ConfigError`."""
    texts = {name: os.environ.get(name, usual) for name, usual in (("RANK", "0"), ("WORLD_SIZE", "1"))}
    for name, text in texts.items():
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise ConfigError(f"{name} is {text!r} in the environment, expected a whole number.")
    rank, ranks = (int(text) for text in texts.values())
    if rank >= ranks:
        raise ConfigError(f"RANK is {rank} of a WORLD_SIZE of {ranks} in the environment; ranks count from 0.")
    return rank, ranks


def _wanted(work: Work, shards: range, scorer: str | None, hidden: bool) -> tuple[list[int], list[int]]:
    """The shards that have to be made (again), and those that only want scores."""
    missing, unscored = [], []
    for shard in tqdm(shards, "looking at shards", disable=hidden):
        fault = fault_of(work.config, work.folder, shard, work.fingerprint)
        tar = shard_path(work.folder, shard)
        if fault:
            logger.warning("%s; it is made again", fault)
        if fault is not None:
            missing.append(shard)
        elif scorer is not None and tar.exists() and not is_scored(tar, scorer):
            unscored.append(shard)
    return missing, unscored


def _show(out: Path, shard: Path) -> None:
    """Some identities as a picture beside the shards. No run ends for want of it."""
    try:
        samples = [read_entry(shard, entry) for entry in read_manifest(shard).samples[:PREVIEWED]]
        write_atomically(out / _PREVIEW, encode(contact_sheet(samples), "jpeg"))
    except (Gen3DFaceError, OSError) as error:
        logger.warning("%s was not written: %s", _PREVIEW, error)


def _claim(config: SynthConfig, fingerprint: str, out: Path) -> None:
    """Note in the folder what it holds, so that nothing else is ever mixed in."""
    path = out / _CONFIG
    try:
        out.mkdir(parents=True, exist_ok=True)
        if path.exists():
            found = json.loads(path.read_text())
            if found.get("fingerprint") != fingerprint:
                raise DataError(f"{out} holds another synthesis ({found.get('config')}); choose another folder.")
            return
    except OSError as error:
        raise OutputError(write_failure(out, error)) from error
    except (ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({error}); delete it if the folder is this synthesis's.") from error
    values = {"fingerprint": fingerprint, "config": config.model_dump(exclude={"identities"})}
    write_atomically(path, json.dumps(values, indent=1, sort_keys=True).encode())
