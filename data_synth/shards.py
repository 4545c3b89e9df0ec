"""Shards: WebDataset tars of whole identities, each with a manifest beside it.

A shard is there only when its manifest is: the tar is written under a temporary name, flushed to the disk and renamed,
then the manifest likewise. What a killed run leaves behind is never taken for a shard. The same samples give the same
bytes.
"""

from __future__ import annotations

import io
import os
import secrets
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gen3dface.data_synth.sample import TrainingSample
from gen3dface.data_synth.sample_pictures import PictureFormat
from gen3dface.errors import DataError, OutputError
from gen3dface.files import file_sha256, write_atomically, write_failure

FORMAT = "gen3dface.shard.1"
MOST_SAMPLE_BYTES = 1 << 29
MOST_MANIFEST_BYTES = 64 << 20
_MOST_MEMBERS = 1024  # of a sample


class Entry(BaseModel):
    """One sample of a shard: where its members lie in the tar."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")  # as `TrainingSample`'s
    offset: int = Field(ge=0)
    size: int = Field(gt=0, le=MOST_SAMPLE_BYTES)
    views: int = Field(gt=0)


class Manifest(BaseModel):
    """What a shard holds. `licences` are those of all its sources."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    shard: str = Field(pattern=r"^[A-Za-z0-9_-]+\.tar$")
    bytes: int = Field(gt=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    licences: list[str]
    samples: list[Entry]


def shard_path(folder: str | os.PathLike[str], index: int) -> Path:
    """Where shard number `index` of a folder lies."""
    return Path(folder) / f"shard-{index:06d}.tar"


def manifest_path(shard: Path) -> Path:
    """The manifest beside a shard."""
    return shard.with_suffix(".json")


def write_shard(
    folder: str | os.PathLike[str], index: int, samples: Iterable[TrainingSample], pictures: PictureFormat = "png"
) -> Manifest:
    """Write samples as shard number `index`, whole or not at all; what was there before is replaced.

    Raises:
        DataError: no samples, or two with one key.
        OutputError: the folder cannot be written, or the disk is full. The temporary file is gone.
    """
    path = shard_path(folder, index)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "xb") as file:
                entries, licences = _write_tar(file, samples, pictures)
                file.flush()
                os.fsync(file.fileno())
            size, digest = temporary.stat().st_size, file_sha256(temporary)
            manifest_path(path).unlink(missing_ok=True)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(write_failure(path, error)) from error
    manifest = Manifest(
        format=FORMAT, shard=path.name, bytes=size, sha256=digest, licences=sorted(licences), samples=entries
    )
    write_atomically(manifest_path(path), manifest.model_dump_json(indent=1).encode())
    return manifest


def _write_tar(
    file: BinaryIO, samples: Iterable[TrainingSample], pictures: PictureFormat
) -> tuple[list[Entry], set[str]]:
    entries: list[Entry] = []
    licences: set[str] = set()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            if any(entry.key == sample.key for entry in entries):
                raise DataError(f"Two samples of a shard are named {sample.key}; an identity is one sample.")
            start = tar.offset
            for name, data in sample.to_members(pictures).items():
                member = tarfile.TarInfo(f"{sample.key}.{name}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
            entries.append(Entry(key=sample.key, offset=start, size=tar.offset - start, views=len(sample.cameras)))
            licences |= set(sample.licences)
    if not entries:
        raise DataError("A shard needs at least one sample.")
    return entries, licences


def read_manifest(shard: Path) -> Manifest:
    """The manifest of a shard. Raises `DataError` when it is missing or damaged."""
    path = manifest_path(shard)
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_MANIFEST_BYTES + 1)
    except OSError as error:
        raise DataError(f"The manifest {path} is missing or damaged: {error}; make its shard again.") from error
    return parse_manifest(data, str(path), shard.name)


def parse_manifest(data: bytes, name: str, shard: str) -> Manifest:
    """A manifest's content. name: for messages. shard: the tar beside it. Raises `DataError` when it is damaged."""
    if len(data) > MOST_MANIFEST_BYTES:
        raise DataError(f"{name} is larger than {MOST_MANIFEST_BYTES >> 20} MiB and cannot be a manifest.")
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise DataError(f"The manifest {name} is missing or damaged: {error}; make its shard again.") from error
    if manifest.format != FORMAT or manifest.shard != shard:
        raise DataError(f"{name} is a manifest of {manifest.shard} in format {manifest.format}, expected {FORMAT}.")
    return manifest


def read_entry(shard: Path, entry: Entry) -> TrainingSample:
    """One sample of a shard, without reading the rest. Raises `DataError` when it is damaged."""
    try:
        with open(shard, "rb") as file:
            file.seek(entry.offset)
            data = file.read(entry.size)
    except OSError as error:
        raise DataError(f"The sample {entry.key} of {shard} cannot be read: {error}; make the shard again.") from error
    return parse_entry(data, entry, str(shard))


def parse_entry(data: bytes, entry: Entry, shard: str) -> TrainingSample:
    """A sample from its part of a tar. shard: for messages. Raises `DataError` when it is damaged."""
    try:
        return TrainingSample.from_members(entry.key, _members(data, entry.key))
    except (OSError, tarfile.TarError, ValueError, RecursionError, DataError) as error:
        raise DataError(f"The sample {entry.key} of {shard} cannot be read: {error}; make the shard again.") from error


def _members(data: bytes, key: str) -> Mapping[str, bytes]:
    """Suffix to content of the members of one sample; nothing is written to the disk.

    Plain files only: sparse ones take more memory than they have bytes. All the others' sizes are bounded by the data.
    """
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        for member in tar:
            owner, _, suffix = member.name.partition(".")
            plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()
            file = tar.extractfile(member) if plain and member.size <= len(data) else None
            if owner != key or file is None or suffix in found or len(found) >= _MOST_MEMBERS:
                raise DataError(f"{member.name!r} is no member of the sample {key}; make its shard again.")
            found[suffix] = file.read()
    return found
