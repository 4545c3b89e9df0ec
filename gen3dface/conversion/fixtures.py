"""Files with the weights, inputs and outputs of one module of a public peer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from gen3dface.errors import CheckpointError

_MOST_BYTES = 2**31  # of one file


@dataclass(frozen=True)
class Fixture:
    """One module's record. Names: `weights/<peer's name>`, `in/<argument>`, `out/<stage>`."""

    name: str
    meta: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]

    @property
    def arguments(self) -> Mapping[str, Any]:
        """How the peer's class was built."""
        return self.meta["constructor_arguments"]

    def tolerance(self, output: str) -> float:
        """Absolute tolerance of an output; whole numbers must be equal."""
        if not self.outputs[output].is_floating_point():
            return 0.0
        return float(self.meta["suggested_absolute_tolerance"][output])

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The weights whose names start with `prefix`."""
        return {name: tensor for name, tensor in self.weights.items() if name.startswith(prefix)}


def load_fixture(path: Path) -> Fixture | None:
    """Read a fixture, with the weights that lie in other files; None for a file that only holds such weights.

    Raises:
        CheckpointError: the file is not a fixture, or a file that it names is missing.
    """
    meta, tensors = _read(path)
    if "part_of" in meta:
        return None
    groups: dict[str, dict[str, Tensor]] = {"weights": {}, "in": {}, "out": {}}
    for other in meta.get("weights_in", []):
        if other == "this file":
            continue
        if Path(other).name != other:
            raise CheckpointError(f"{path.name} names weights outside its folder: {other!r}.")
        prefix = "model.diffusion_model." if "weights_in_prefix" in meta else ""
        for name, tensor in _read(path.with_name(other))[1].items():
            groups["weights"][prefix + name.removeprefix("weights/")] = tensor
    for name, tensor in tensors.items():
        group, _, rest = name.partition("/")
        if group not in groups:
            raise CheckpointError(f"{path.name} holds {name!r}, which is neither weights, in nor out.")
        groups[group][rest] = tensor
    return Fixture(meta["fixture"], meta, groups["weights"], groups["in"], groups["out"])


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file() or path.stat().st_size > _MOST_BYTES:
        raise CheckpointError(f"{path} is missing, or larger than {_MOST_BYTES} bytes.")
    try:
        with safe_open(path, "pt") as file:
            meta = json.loads((file.metadata() or {})["meta"])
            return meta, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} is not a fixture: {error}.") from error


@dataclass
class Recorder(AbstractContextManager["Recorder"]):
    """Keeps the outputs of submodules while a module runs."""

    module: nn.Module
    places: Mapping[str, str]  # name of the output -> submodule
    found: dict[str, Tensor] = field(default_factory=dict)
    _handles: list[Any] = field(default_factory=list)

    def __enter__(self) -> Recorder:
        for name, place in self.places.items():
            submodule = self.module.get_submodule(place)
            self._handles.append(submodule.register_forward_hook(self._keep(name)))
        return self

    def _keep(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            self.found[name] = torch.as_tensor(output[0] if isinstance(output, tuple) else output)

        return hook

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
