"""Renaming of state dicts."""

import pytest
import torch
from torch import nn

from gen3dface.conversion.key_map import (
    SPARSE,
    TRANSPOSED,
    Entry,
    export_state,
    import_state,
    module_entries,
    pointwise,
)
from gen3dface.errors import CheckpointError

MODULE = nn.Linear(3, 2)
ENTRIES = module_entries(MODULE, "", "their.", [])
STATE = {"their.weight": torch.randn(2, 3), "their.bias": torch.randn(2)}


def test_forms_there_and_back() -> None:
    for form, shape, ours in (
        (SPARSE, (5, 3, 3, 3, 4), (5, 4, 3, 3, 3)),
        (TRANSPOSED, (4, 6), (6, 4)),
        (pointwise(3), (4, 6, 1, 1, 1), (4, 6)),
        (pointwise(2), (4,), (4,)),
    ):
        tensor = torch.randn(shape)
        assert form.to_ours(tensor).shape == ours
        assert form.to_theirs(form.to_ours(tensor)).equal(tensor)


def test_both_layouts_of_sparse_weights_agree() -> None:
    weight = torch.randn(5, 4, 3, 3, 3)
    assert SPARSE.to_ours(weight.permute(2, 3, 4, 1, 0)).equal(weight)
    assert SPARSE.to_ours(weight.permute(0, 2, 3, 4, 1)).equal(weight)


def test_a_stacked_tensor_is_split() -> None:
    entry, stacked = Entry("qkv", ("q", "k", "v")), torch.randn(6, 2)
    ours = import_state({"qkv": stacked}, [entry])
    assert ours["k"].equal(stacked[2:4]) and ours["k"].data_ptr() != stacked.data_ptr()
    assert export_state(ours, [entry])["qkv"].equal(stacked)


def test_there_and_back_again() -> None:
    ours = import_state(STATE, ENTRIES, MODULE.state_dict())
    assert set(ours) == {"weight", "bias"}
    back = export_state(ours, ENTRIES)
    assert set(back) == set(STATE) and all(back[k].equal(STATE[k]) for k in STATE)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"their.weight": STATE["their.weight"]}, "missing their.bias"),
        ({**STATE, "more": torch.zeros(1)}, "unexpected more"),
        ({**STATE, "their.bias": torch.zeros(3)}, r"misshapen their.bias \[3\] for \[2\]"),
    ],
)
def test_every_fault_is_named(state: dict[str, torch.Tensor], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        import_state(state, ENTRIES, MODULE.state_dict())


def test_all_faults_are_named_at_once() -> None:
    many = {f"more{i}": torch.zeros(1) for i in range(30)}
    with pytest.raises(CheckpointError) as caught:
        import_state({**many, "their.weight": torch.zeros(3, 3)}, ENTRIES, MODULE.state_dict())
    said = str(caught.value)
    assert all(name in said for name in many)
    assert "missing their.bias" in said and "misshapen their.weight [3, 3] for [2, 3]" in said


@pytest.mark.parametrize(
    ("entry", "found", "wanted"),
    [
        (Entry("w", ("w",), pointwise(2)), (4, 6, 3, 3), (4, 6)),
        (Entry("w", ("w",), SPARSE), (4, 6), (4, 6, 3, 3, 3)),
        (Entry("w", ("w",), TRANSPOSED), (4, 6), (4, 6)),
        (Entry("w", ("q", "k", "v")), (4, 2), (2, 2)),
    ],
)
def test_a_shape_that_no_form_can_read_is_named(entry: Entry, found: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    with pytest.raises(CheckpointError, match="misshapen w"):
        import_state({"w": torch.zeros(found)}, [entry], {name: torch.zeros(wanted) for name in entry.ours})


def test_only_what_is_listed_is_passed_over() -> None:
    state = {**STATE, "betas": torch.zeros(1)}
    assert import_state(state, ENTRIES, MODULE.state_dict(), lambda name: name == "betas")
    with pytest.raises(CheckpointError, match="missing bias"):
        export_state({"weight": torch.zeros(2, 3)}, ENTRIES)
