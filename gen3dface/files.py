"""Files that are either whole or not there, and what safetensors notes in them."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import zipfile
from pathlib import Path
from typing import IO

from gen3dface.errors import OutputError


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path`: a temporary name beside it, flushed to the disk, then renamed.

    A file that was there before stays as it was until the new one is complete.

    Raises:
        OutputError: the folder is missing or not writable, or the disk is full. The temporary file is gone.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(write_failure(path, error)) from error


def make_folder(path: Path) -> Path:
    """The folder, made with all above it where it was missing. Raises `OutputError`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(write_failure(path, error)) from error
    return path


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Hash of a file's bytes, in hexadecimal. Raises OSError."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def holds_more_than_its_size(file: str | os.PathLike[str] | IO[bytes]) -> bool:
    """Whether a zip archive's entries are compressed or overlap: read, it may take any memory.

    torch.save stores without compression, so that what it wrote never does.

    Raises:
        zipfile.BadZipFile, OSError, ValueError: it is damaged, or no archive.
    """
    with zipfile.ZipFile(file) as archive:
        entries, room = archive.infolist(), archive.start_dir  # the table of contents lies behind the data
    return any(e.compress_type != zipfile.ZIP_STORED for e in entries) or sum(e.file_size for e in entries) > room


def write_failure(path: Path, error: OSError) -> str:
    """What to tell someone whose file or folder `path` could not be written."""
    return f"cannot write '{path}': {error.strerror or error}. Choose a writable folder with enough free space."


def safetensors_note(data: bytes, name: str) -> dict[str, object]:
    """The JSON object that a safetensors file holds as metadata under `name`; empty where there is none.

    Raises:
        ValueError: the header is damaged.
    """
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= len(data) - 8:
        raise ValueError(f"a header of {length} bytes in a file of {len(data)}")
    note = json.loads(json.loads(data[8 : 8 + length]).get("__metadata__", {}).get(name, "{}"))
    if not isinstance(note, dict):
        raise ValueError(f"the metadata {name} is no object")
    return note
