"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gen3dface.errors import OutputError
from gen3dface.files import write_failure
from gen3dface.outputs.report import is_report


@contextmanager
def staged_folder(final: Path) -> Iterator[Path]:
    """Fill the folder that this yields; it takes the name `final` at the end, and is gone after any error.

    A folder of that name from an earlier run is replaced, but only then: until the new one is complete it stays.

    Raises:
        OutputError: the folder cannot be written, or `final` holds something that gen3dface did not write.
    """
    staging = final.with_name(f".{final.name}.{secrets.token_hex(4)}.partial")
    with _writing(final):
        _check_replaceable(final)
        new_parents = [parent for parent in final.parents if not parent.exists()]  # deepest first
    try:
        with _writing(final):
            staging.mkdir(parents=True)
        yield staging
        with _writing(final):
            _swap(staging, final)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        with suppress(OSError):  # one of them holds something by now
            for parent in new_parents:
                parent.rmdir()


@contextmanager
def _writing(final: Path) -> Iterator[None]:
    """Turn the operating system's refusal to make or rename a folder into an OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(write_failure(final, error)) from error


def _check_replaceable(final: Path) -> None:
    if not final.is_dir():
        if final.exists() or final.is_symlink():
            raise OutputError(f"'{final}' is in the way: it is no folder. Move it or choose another output folder.")
        return
    if any(final.iterdir()) and not is_report(final / "report.json"):
        raise OutputError(
            f"'{final}' exists and was not written by gen3dface, so it is not replaced. "
            "Move it or choose another output folder."
        )


def _swap(staging: Path, final: Path) -> None:
    """Give `staging` its name; what had it before is removed afterwards, or put back if that fails."""
    old = staging.with_suffix(".old")
    replaces = final.exists()
    if replaces:
        os.replace(final, old)
    try:
        os.replace(staging, final)
    except OSError:
        if replaces:
            os.replace(old, final)
        raise
    shutil.rmtree(old, ignore_errors=True)
