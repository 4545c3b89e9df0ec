"""The trained models that come with the package, by name."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

SHIPPED = ("mini",)


def shipped_folder(name: str) -> Path | None:
    """Where the shipped model of this name lies; None where there is none of that name.

    A folder of the user's own with such a name is meant by `./mini`.
    """
    if name not in SHIPPED:
        return None
    return Path(str(resources.files("gen3dface.weights"))) / name


def resolved(name_or_path: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """A shipped model's folder for its name; everything else as it is."""
    return shipped_folder(name_or_path) or name_or_path if isinstance(name_or_path, str) else name_or_path
