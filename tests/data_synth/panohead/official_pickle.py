"""Pickles as the official generators' code writes them: written by classes of the same names, which then vanish."""

import pickle
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from gen3dface.data_synth.panohead.generator import Generator

SOURCE = "raise SystemExit('the source in the pickle was executed')"


def write_official(path: Path, generator: Generator, options: dict[str, Any], raw_side: int) -> None:
    """`{"G_ema": ..., "D": None}` of a generator: persistent objects with their source, resampling filters included."""
    with _official_modules() as (persistent, easy):
        root = _copied(generator, persistent)
        root.__dict__.update(
            neural_rendering_resolution=raw_side, rendering_kwargs=easy(options), c_scale=np.float64(1.0)
        )
        with open(path, "wb") as file:
            pickle.dump({"training_set_kwargs": easy(path="x"), "D": None, "G_ema": root}, file)


def _copied(module: nn.Module, persistent: type) -> nn.Module:
    if isinstance(module, nn.Softplus):
        return module
    copy = persistent()
    copy._parameters.update({n: p for n, p in module._parameters.items()})
    copy._buffers.update({n: b for n, b in module._buffers.items()})
    if "noise_const" in module._buffers:
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        copy.register_buffer("resample_filter", torch.outer(taps, taps) / 64)
    for name, part in module._modules.items():
        assert part is not None
        copy._modules[name] = _copied(part, persistent)
    return copy


@contextmanager
def _official_modules() -> Iterator[tuple[type, type]]:
    persistence, util = types.ModuleType("torch_utils.persistence"), types.ModuleType("dnnlib.util")

    class EasyDict(dict):  # type: ignore[type-arg]
        pass

    EasyDict.__module__, EasyDict.__qualname__ = "dnnlib.util", "EasyDict"

    def _reconstruct_persistent_obj(meta: object) -> object:
        raise AssertionError("never called here")

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"

    class Persistent(nn.Module):
        def __reduce__(self) -> tuple[Any, ...]:
            meta = EasyDict(type="class", version=6, module_src=SOURCE, class_name="X", state=dict(self.__dict__))
            return _reconstruct_persistent_obj, (meta,), None

    util.EasyDict, persistence._reconstruct_persistent_obj = EasyDict, _reconstruct_persistent_obj  # type: ignore
    added = {"torch_utils": types.ModuleType("torch_utils"), "torch_utils.persistence": persistence}
    added |= {"dnnlib": types.ModuleType("dnnlib"), "dnnlib.util": util}
    sys.modules.update(added)
    try:
        yield Persistent, EasyDict
    finally:
        for name in added:
            del sys.modules[name]


class Call:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.made = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.made


def replacing_a_class(target: str) -> bytes:
    """A shell whose state would put another class, found by a forbidden name, in its class's place."""
    module, name = target.rsplit(".", 1)
    return (
        b"\x80\x02ctraining.triplane\nTriPlaneGenerator\n)\x81"
        b"N}X\x09\x00\x00\x00__class__c" + f"{module}\n{name}\n".encode() + b"s\x86b."
    )
