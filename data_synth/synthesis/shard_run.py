"""One shard of a synthesis: made whole, known again when it is there, made anew when it is not what it says."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from gen3dface.data_synth.sample import TrainingSample
from gen3dface.data_synth.shards import manifest_path, read_manifest, shard_path, write_shard
from gen3dface.data_synth.synthesis.config import SynthConfig
from gen3dface.data_synth.synthesis.generators import MakeIdentity
from gen3dface.errors import (
    DataError,
    EstimationError,
    FaceChoiceError,
    FaceTooSmallError,
    HeadError,
    NoFaceError,
    OutputError,
    PortraitError,
)
from gen3dface.files import file_sha256, write_atomically, write_failure

logger = logging.getLogger(__name__)

_MOST_BYTES = 16 << 20
_STALE = 3600.0  # seconds after which a temporary file is nobody's any more
# what a seed may be to blame for; all else is the machine's fault, and ends the run
SEEDS_OWN = (EstimationError, FaceChoiceError, FaceTooSmallError, HeadError, NoFaceError, PortraitError)


@dataclass(frozen=True)
class Note:
    """What became of a shard's seeds. It is written last: a shard without it is not done."""

    fingerprint: str
    first: int
    seeds: int
    made: int = 0
    manifest: str | None = None  # its sha256
    skipped: dict[str, str] = field(default_factory=dict)  # seed to reason


def note_path(folder: Path, shard: int) -> Path:
    """Beside shard number `shard` of a folder."""
    return note_beside(shard_path(folder, shard))


def note_beside(tar: Path) -> Path:
    """Of a shard's tar."""
    return tar.with_suffix(".note.json")


def read_note(path: Path) -> Note:
    """Raises `DataError` when it is damaged or missing."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise DataError(f"{path.name} is too large for a note.")
        return TypeAdapter(Note).validate_json(data)
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name} is damaged: {error}") from error


def fault_of(config: SynthConfig, folder: Path, shard: int, fingerprint: str) -> str | None:
    """Why a shard has to be made (again); None where it is what it should be, to the last byte.

    fingerprint: of the configuration. An empty text means that nothing of it is there yet.
    """
    path, tar = note_path(folder, shard), shard_path(folder, shard)
    if not path.exists():
        return "" if not tar.exists() else f"{tar.name} was not finished"
    seeds = config.seeds(shard)
    try:
        note = read_note(path)
        if (note.fingerprint, note.first) != (fingerprint, seeds.start) or note.seeds < len(seeds):
            return f"{tar.name} has other identities"
        if note.made and file_sha256(manifest_path(tar)) != note.manifest:
            return f"{tar.name} has another manifest than it was made with"
        if note.made and file_sha256(tar) != read_manifest(tar).sha256:
            return f"{tar.name} is damaged: its sha256 is not its manifest's"
    except (OSError, DataError) as error:
        return f"{tar.name} is damaged: {error}"
    return None


def make_shard(config: SynthConfig, folder: Path, shard: int, make: MakeIdentity, fingerprint: str) -> Note:
    """Make a shard from its seeds alone. What was there before is replaced once the new one is whole.

    fingerprint: of the configuration.

    Raises:
        OutputError: the folder cannot be written or the disk is full; nothing half-written stays.
        DataError: the generator cannot read what it needs.
    """
    seeds, skipped = config.seeds(shard), dict[str, str]()
    tar = shard_path(folder, shard)
    _remove(note_path(folder, shard))
    samples = _samples(seeds, make, skipped)
    made = 0
    first = next(samples, None)
    if first is not None:
        made = len(write_shard(folder, shard, itertools.chain([first], samples), config.pictures).samples)
    else:
        _remove(tar, manifest_path(tar))
    digest = file_sha256(manifest_path(tar)) if made else None
    note = Note(fingerprint, seeds.start, len(seeds), made, digest, skipped)
    write_atomically(note_path(folder, shard), json.dumps(asdict(note), indent=1, sort_keys=True).encode())
    return note


def _remove(*paths: Path) -> None:
    """Those that are there. Raises `OutputError`."""
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(write_failure(path, error)) from error


def sweep(folder: Path) -> None:
    """Remove temporary files that killed runs left. Recent ones may be somebody's."""
    for path in folder.glob(".shard-*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE:
                path.unlink()


def _samples(seeds: range, make: MakeIdentity, skipped: dict[str, str]) -> Iterator[TrainingSample]:
    """Of the seeds that give one; the others' reasons are added to `skipped`."""
    for seed in seeds:
        try:
            sample = make(seed)
        except SEEDS_OWN as error:
            logger.info("identity %d is left out: %s", seed, error)
            skipped[str(seed)] = str(error)
            continue
        except OSError as error:  # of the generator's files; it is not the shard that cannot be written
            raise DataError(f"Identity {seed} cannot be made: {error}.") from error
        yield sample
