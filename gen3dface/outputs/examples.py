"""Photos that come with the installed packages."""

from __future__ import annotations

from enum import Enum
from importlib.resources import files
from pathlib import Path


class Example(str, Enum):
    """Names of the photos. `astronaut`: Eileen Collins, NASA, public domain, from scikit-image."""

    astronaut = "astronaut"


def example_photo(example: Example) -> Path:
    """The photo's file."""
    return Path(str(files("skimage.data") / f"{example.value}.png"))
