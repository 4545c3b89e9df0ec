"""Head models by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from gen3dface.errors import HeadModelError
from gen3dface.heads.model import HeadModel
from gen3dface.heads.open_head import load_open_head

HEAD_MODELS: dict[str, Callable[[], HeadModel]] = {"openhead": load_open_head}


@cache
def load_head_model(name: str = "openhead") -> HeadModel:
    """A head model by name, read once a process.

    Raises:
        HeadModelError: the name is unknown, or the model cannot be read.
    """
    if name not in HEAD_MODELS:
        raise HeadModelError(f"There is no head model named {name!r}; choose one of {', '.join(HEAD_MODELS)}.")
    return HEAD_MODELS[name]()
