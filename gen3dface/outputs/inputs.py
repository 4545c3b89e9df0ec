"""Which photos a call means, and what each one's output folder is called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".gif", ".bmp"}
)
MAX_NAME_BYTES = 120  # leaves room for the temporary name around it: file systems allow 255
RESERVED = frozenset({"index.html"})  # the page of all heads lies beside the heads' folders
FORBIDDEN = '<>:"/\\|?*'  # in file names on one system or another


@dataclass(frozen=True)
class PhotoJob:
    """One photo and the name of the folder that its head goes to."""

    photo: Path
    name: str


def find_photos(paths: Iterable[Path]) -> list[PhotoJob]:
    """The photos named, and all those in the folders named (by suffix, subfolders too, sorted), each once.

    A folder's name is the photo's without its suffix, made safe; when two are the same, the later gets "-2".
    Names are compared without case, as some file systems do.
    """
    jobs: list[PhotoJob] = []
    seen: set[Path] = set()
    taken = set(RESERVED)
    for path in paths:
        for photo in _photos_in(path) if path.is_dir() else [path]:
            if photo.resolve() in seen:
                continue
            seen.add(photo.resolve())
            name = _unique(safe_name(photo.stem), taken)
            taken.add(name.casefold())
            jobs.append(PhotoJob(photo, name))
    return jobs


def _photos_in(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
    return sorted(
        path for path in found if path.is_file() and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    )


def readable_name(name: str) -> str:
    """A file's name for people and JSON: bytes that are no text and invisible characters become "_"."""
    return "".join(c if c.isprintable() else "_" for c in name.encode("utf-8", "replace").decode())


def safe_name(stem: str) -> str:
    """`stem` without what no folder's name may hold, on any system."""
    safe = "".join("_" if c in FORBIDDEN else c for c in readable_name(stem))
    return safe.encode()[:MAX_NAME_BYTES].decode(errors="ignore").strip(". ") or "photo"


def _unique(name: str, taken: set[str]) -> str:
    number, unique = 1, name
    while unique.casefold() in taken:
        number += 1
        unique = f"{name}-{number}"
    return unique
