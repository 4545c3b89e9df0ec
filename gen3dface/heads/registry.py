"""Head models by name: those that come with the package, and those that users converted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

from gen3dface.assets import home
from gen3dface.errors import HeadModelError
from gen3dface.heads.model import HeadModel
from gen3dface.heads.open_head import load_open_head
from gen3dface.heads.store import NOTE, read_head_model

HEAD_MODELS: dict[str, Callable[[], HeadModel]] = {"openhead": load_open_head}


def load_head_model(name: str = "openhead") -> HeadModel:
    """A head model by name, read once a process.

    Args:
        name: `openhead`, the name of a folder in `$GEN3DFACE_HOME/heads`, or the path of a folder; such folders are
            written by `gen3dface heads convert`.

    Raises:
        HeadModelError: the name is unknown, or the model cannot be read.
    """
    if name in HEAD_MODELS:
        return _bundled(name)
    folder = find_head_folder(name)
    if folder is None:
        known = ", ".join([*HEAD_MODELS, *(folder.name for folder in converted_heads())])
        raise HeadModelError(f"There is no head model named {name!r}; choose one of {known}, or a folder of one.")
    return _converted(folder.resolve(), (folder / NOTE).stat().st_mtime_ns)


def heads_folder() -> Path:
    """Where converted head models lie by default."""
    return home() / "heads"


def converted_heads() -> Iterator[Path]:
    """The folders of the converted head models there, by name."""
    if heads_folder().is_dir():
        yield from sorted(note.parent for note in heads_folder().glob(f"[!.]*/{NOTE}"))


def find_head_folder(name: str | Path) -> Path | None:
    """The folder of a converted head model by path or name, None where there is none."""
    for folder in (Path(name).expanduser(), heads_folder() / name):
        if (folder / NOTE).is_file():
            return folder
    return None


@lru_cache
def _bundled(name: str) -> HeadModel:
    return HEAD_MODELS[name]()


@lru_cache(maxsize=4)
def _converted(folder: Path, changed: int) -> HeadModel:
    """`changed`: a folder that was written anew is read anew."""
    return read_head_model(folder)
