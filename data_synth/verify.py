"""Whole folders of shards held against their manifests and notes, and these against the samples themselves."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from gen3dface.data_synth.shards import Entry, Manifest, manifest_path, read_entry, read_manifest
from gen3dface.data_synth.synthesis.shard_run import note_beside, read_note
from gen3dface.errors import DataError
from gen3dface.files import file_sha256

_BESIDE = re.compile(r"(shard-\d{6,})(\.note|\.scores)?\.json")
_PADDING = 1 << 14  # bytes that a tar ends with at most


def verify_shards(folder: str | os.PathLike[str]) -> Iterator[str]:
    """What is wrong with the shards of a folder, one message a fault that names the shard; nothing when all is well.

    Every byte is read. Where a note lies beside a shard, its manifest is the one that the note names; a manifest or a
    note without its shard is a fault too.
    """
    owners: dict[str, str] = {}
    for shard in _shards(Path(folder)):
        try:
            _check(shard, owners)
        except (DataError, OSError) as error:
            yield f"{shard.name}: {error}"


def _shards(folder: Path) -> list[Path]:
    """Those that are there, and those that something else in the folder tells of."""
    beside = (_BESIDE.fullmatch(path.name) for path in folder.glob("shard-*.json"))
    return sorted({*folder.glob("*.tar"), *(folder / f"{match[1]}.tar" for match in beside if match)})


def _check(shard: Path, owners: dict[str, str]) -> None:
    """Raises `DataError` or OSError for its first fault. owners: identities to the shards that have them."""
    path = note_beside(shard)
    note = read_note(path) if path.exists() else None
    if note is not None and not note.made and not shard.exists() and not manifest_path(shard).exists():
        return  # none of its seeds gave an identity
    if not shard.exists():
        raise DataError("it is gone, and what lies beside it is left; make it again.")
    manifest = read_manifest(shard)
    if note is not None and (note.manifest != file_sha256(manifest_path(shard)) or note.made != len(manifest.samples)):
        raise DataError(f"its manifest is not the one that {path.name} names; make it again.")
    if (found := file_sha256(shard)) != manifest.sha256:
        raise DataError(f"its sha256 is {found}, its manifest says {manifest.sha256}; make it again.")
    _check_covered(shard, manifest)
    licences = {name for entry in manifest.samples for name in _licences(shard, entry, owners)}
    if sorted(licences) != manifest.licences:
        raise DataError(f"its licences are {sorted(licences)}, its manifest says {manifest.licences}; make it again.")


def _check_covered(shard: Path, manifest: Manifest) -> None:
    """The samples follow each other from the tar's first byte to the zeros at its end."""
    end = 0
    for entry in manifest.samples:
        if entry.offset != end:
            raise DataError(f"its manifest leaves out what lies before the sample {entry.key}; make it again.")
        end += entry.size
    with open(shard, "rb") as file:
        file.seek(end)
        rest = file.read(_PADDING + 1)
    if not 1024 <= len(rest) <= _PADDING or any(rest):
        raise DataError(f"its manifest leaves out what lies after {end} bytes of it; make it again.")


def _licences(shard: Path, entry: Entry, owners: dict[str, str]) -> list[str]:
    """Of a sample, which is all that its entry says, and in no other place."""
    if entry.key in owners:
        raise DataError(f"the identity {entry.key} is in {owners[entry.key]} too.")
    owners[entry.key] = shard.name
    sample = read_entry(shard, entry)
    if len(sample.cameras) != entry.views:
        raise DataError(f"{entry.key} has {len(sample.cameras)} views, its manifest says {entry.views}; make it again.")
    return sample.licences
