"""What a generator's shape and sampling may be: files name sizes, and sizes become memory and time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gen3dface.data_synth.panohead.generator import GeneratorConfig
from gen3dface.data_synth.panohead.rendering import RenderingConfig
from gen3dface.errors import CheckpointError

_SIZES = {"side": (64, 2048), "raw_side": (4, 512), "z_dim": (1, 4096), "c_dim": (1, 64), "w_dim": (1, 4096)}
_SIZES |= {"base": (1, 1 << 17), "most": (1, 4096), "plane_side": (4, 1024), "depth": (1, 16)}
SAMPLES = {"coarse": (2, 1024), "fine": (0, 1024)}
LENGTHS = {"near": (0.0, 100.0), "far": (0.0, 100.0), "side": (1e-3, 100.0)}


def checked(config: GeneratorConfig) -> GeneratorConfig:
    """The same. Raises `CheckpointError` naming what is of another type or out of bounds."""
    values, rendering = asdict(config), asdict(config.rendering)
    for name, (least, most) in _SIZES.items():
        whole(values, name, least, most)
    for name, (least, most) in SAMPLES.items():
        whole(rendering, name, least, most)
    for name, (low, high) in LENGTHS.items():
        number(rendering[name], low, high, name)
    if rendering["crop"] is not None:
        number(rendering["crop"], 0.0, LENGTHS["side"][1], "crop")
    if config.rendering.near >= config.rendering.far:
        raise CheckpointError(f"its rays begin at {config.rendering.near} and end at {config.rendering.far}")
    if not isinstance(config.background, bool):
        raise CheckpointError(f"its background is {config.background!r:.80}, expected true or false")
    if len(config.axes) != 3 or any(sorted(order) != [0, 1, 2] for order in config.axes):
        raise CheckpointError(f"its axes are {config.axes!r:.80}, expected three orders of 0, 1, 2")
    return config


def config_from(note: Mapping[str, Any]) -> GeneratorConfig:
    """Of the values that `asdict` gave. Raises `CheckpointError`, and KeyError, TypeError where some are missing."""
    fields = {name: note[name] for name in asdict(GeneratorConfig())}
    rendering = RenderingConfig(**fields.pop("rendering"))
    axes = tuple(tuple(order) for order in fields.pop("axes"))
    return checked(GeneratorConfig(**fields, rendering=rendering, axes=axes))


def whole(values: Mapping[str, object], name: str, least: int, most: int) -> int:
    """A whole number within bounds. Raises `CheckpointError`."""
    value = values[name]
    if not isinstance(value, int):
        raise CheckpointError(f"its {name} is {value!r:.80}, no whole number")
    return int(number(value, least, most, name))


def number(value: object, low: float, high: float, name: str) -> Any:
    """A number within bounds, of the type that it had. Raises `CheckpointError`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise CheckpointError(f"its {name} is {value!r:.80}, no number")
    if not low <= value <= high:
        raise CheckpointError(f"its {name} is {value!r:.80}, expected {low} to {high}")
    return value
