"""What settings must hold, said before anything is computed."""

from __future__ import annotations

import math

from gen3dface.errors import ConfigError


def require_counts(config: object, **least: int) -> None:
    """Settings that are whole numbers, none below its least. Raises `ConfigError` that names one."""
    for name, low in least.items():
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            raise ConfigError(f"{type(config).__name__}: {name} is {value!r}; it must be a whole number from {low}.")


def require_amounts(config: object, *names: str, zero: bool = True) -> None:
    """Settings that are finite numbers from 0, or above 0 (zero=False). Raises `ConfigError` that names one.

    A setting may be a tuple of such numbers, of which there must be one.
    """
    for name in names:
        value = getattr(config, name)
        numbers = (value or (None,)) if isinstance(value, tuple) else (value,)
        for number in numbers:
            fits = isinstance(number, (int, float)) and math.isfinite(number) and number >= 0
            if not fits or not (zero or number):
                bound = "from" if zero else "above"
                raise ConfigError(f"{type(config).__name__}: {name} is {value!r}; it must be a number {bound} 0.")


def require_one_of(config: object, name: str, choices: tuple[str, ...]) -> None:
    """A setting that is one of some words. Raises `ConfigError`."""
    value = getattr(config, name)
    if value not in choices:
        raise ConfigError(f"{type(config).__name__}: {name} is {value!r}; it must be one of {', '.join(choices)}.")
