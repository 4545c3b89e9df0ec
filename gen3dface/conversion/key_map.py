"""Renaming of state dicts, both ways and with nothing left unsaid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gen3dface.errors import CheckpointError


@dataclass(frozen=True)
class Form:
    """How one of their tensors becomes ours, and back."""

    to_ours: Callable[[Tensor], Tensor]
    to_theirs: Callable[[Tensor], Tensor]


SAME = Form(lambda t: t, lambda t: t)
TRANSPOSED = Form(lambda t: t.T.contiguous(), lambda t: t.T.contiguous())


def pointwise(dims: int) -> Form:
    """Their 1x1 convolution over `dims` dimensions is our linear layer; vectors stay."""

    def grow(t: Tensor) -> Tensor:
        return t.reshape(*t.shape, *[1] * dims) if t.ndim > 1 else t

    return Form(lambda t: t.reshape(t.shape[:2]) if t.ndim > 1 else t, grow)


def _sparse_to_ours(weight: Tensor) -> Tensor:
    # spconv 2 stores [out, k, k, k, in]; spconv 1 stored [k, k, k, in, out]
    order = (4, 3, 0, 1, 2) if weight.shape[0] == 3 else (0, 4, 1, 2, 3)
    return weight.permute(*order).contiguous()


SPARSE = Form(_sparse_to_ours, lambda t: t.permute(0, 2, 3, 4, 1).contiguous())


@dataclass(frozen=True)
class Entry:
    """One of their tensors, and ours that it holds: one, or several stacked along the first axis."""

    theirs: str
    ours: tuple[str, ...]
    form: Form = SAME

    def read(self, tensor: Tensor) -> dict[str, Tensor]:
        """Their tensor as ours."""
        parts = tensor.chunk(len(self.ours)) if len(self.ours) > 1 else (tensor,)
        # a chunk is a view into the whole; safetensors wants tensors of their own
        return {
            name: self.form.to_ours(p.clone() if len(parts) > 1 else p)
            for name, p in zip(self.ours, parts, strict=True)
        }

    def write(self, state: Mapping[str, Tensor]) -> Tensor:
        """Our tensors as theirs."""
        parts = [self.form.to_theirs(state[name]) for name in self.ours]
        return torch.cat(parts) if len(parts) > 1 else parts[0]


Rename = tuple[str, str] | tuple[str, str, Form]


def module_entries(module: nn.Module, ours: str, theirs: str, renames: Sequence[Rename]) -> list[Entry]:
    """Entries for every tensor of a module.

    Args:
        ours, theirs: prefixes of the module in the two state dicts, with the dot at their end.
        renames: (start of our name, start of theirs, form); the first that fits counts; names that none fits are equal.
    """
    return [_entry(name, ours, theirs, renames) for name in module.state_dict()]


def _entry(name: str, ours: str, theirs: str, renames: Sequence[Rename]) -> Entry:
    for rename in renames:
        mine, other = rename[0], rename[1]
        if name.startswith(mine):
            form = rename[2] if len(rename) == 3 else SAME
            return Entry(theirs + other + name[len(mine) :], (ours + name,), form)
    return Entry(theirs + name, (ours + name,))


def import_state(
    state: Mapping[str, Tensor],
    entries: Sequence[Entry],
    expected: Mapping[str, Tensor] | None = None,
    ignored: Callable[[str], bool] = lambda name: False,
) -> dict[str, Tensor]:
    """Their state dict as ours.

    Args:
        state: theirs. entries: from the maps of this package.
        expected: our module's state dict, to compare names and shapes with.
        ignored: their names that hold nothing for us, explicitly.

    Raises:
        CheckpointError: names are missing, unexpected or misshapen; it lists every one.
    """
    known = {entry.theirs for entry in entries}
    faults = _named("missing", known - state.keys())
    faults += _named("unexpected", (name for name in state.keys() - known if not ignored(name)))
    if expected is not None:
        faults += _named("misshapen", _misshapen(state, entries, expected))
        faults += _named("nothing for our", expected.keys() - {name for entry in entries for name in entry.ours})
    if faults:
        raise CheckpointError(f"The checkpoint is not of this kind or size: {'; '.join(faults)}.")
    result: dict[str, Tensor] = {}
    for entry in entries:
        result |= entry.read(state[entry.theirs])
    return result


def export_state(state: Mapping[str, Tensor], entries: Sequence[Entry]) -> dict[str, Tensor]:
    """Our state dict as theirs, without what they hold and we ignore."""
    faults = _named("missing", {name for entry in entries for name in entry.ours} - state.keys())
    if faults:
        raise CheckpointError(f"The model cannot be written as this kind of checkpoint: {'; '.join(faults)}.")
    return {entry.theirs: entry.write(state) for entry in entries}


def _misshapen(state: Mapping[str, Tensor], entries: Sequence[Entry], expected: Mapping[str, Tensor]) -> list[str]:
    """Their tensors that do not become ours, with the shape found and the one it should have."""
    faults = []
    for entry in entries:
        if entry.theirs not in state or not all(name in expected for name in entry.ours):
            continue
        given = state[entry.theirs].to("meta")
        wanted = {name: expected[name].to("meta") for name in entry.ours}
        try:
            fits = all(tensor.shape == wanted[name].shape for name, tensor in entry.read(given).items())
        except (RuntimeError, ValueError):  # too few axes, or not as many parts, for the form
            fits = False
        if not fits:
            faults.append(f"{entry.theirs} {list(given.shape)} for {list(entry.write(wanted).shape)}")
    return faults


def _named(fault: str, names: Iterable[str]) -> list[str]:
    listed = sorted(names)
    return [f"{fault} {', '.join(listed)}"] if listed else []
