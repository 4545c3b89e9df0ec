"""What readers of other people's pickles put in the place of classes and functions: nothing is imported or run."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, ClassVar


class Shell:
    """An object of a class that was not loaded; `state` is what it held, `kind` its class's name where it is told."""

    kind: ClassVar[str] = ""
    state: dict[str, Any]

    def __new__(cls, *args: object, **kwargs: object) -> Shell:
        shell = object.__new__(cls)
        object.__setattr__(shell, "state", {})
        return shell

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        object.__setattr__(self, "state", state if isinstance(state, dict) else {})


class Sealed:
    """What a pickle may hold, but not change."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it changes what is not its own; it may be malicious")


class SealedCallable(Sealed):
    """A function of the reader's own that a pickle may call."""

    __slots__ = ()
    value: Callable[..., Any]

    def __call__(self, *arguments: object) -> Any:
        return self.value(*arguments)
