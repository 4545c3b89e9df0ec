"""Writing a file so that it is either whole or not there."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

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


def write_failure(path: Path, error: OSError) -> str:
    """What to tell someone whose file or folder `path` could not be written."""
    return f"cannot write '{path}': {error.strerror or error}. Choose a writable folder with enough free space."
