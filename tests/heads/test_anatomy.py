"""Colours of the inner parts lie where the parts are."""

import torch

from gen3dface.heads import load_head_model
from gen3dface.heads.anatomy import inner_colours, inner_parts


def test_inner_parts_are_behind_lids_and_lips_alone() -> None:
    model = load_head_model()
    inner = inner_parts(model)
    assert inner[model.regions["left_eye"]].all()
    assert inner[model.regions["teeth"]].all()
    assert not inner[model.regions["face"] & ~model.regions["mouth_interior"]].any()
    assert not inner[model.regions["scalp"]].any()


def test_each_eye_has_one_dark_disc_of_an_iris_size_in_front() -> None:
    model = load_head_model()
    grey = inner_colours(model).mean(1)
    for eye in ("left_eye", "right_eye"):
        mine = model.regions[eye]
        dark = mine & (grey < 0.4)
        assert 0 < dark.sum() < 0.3 * mine.sum()
        assert model.template[dark, 2].min() > model.template[mine, 2].median()
        width = model.template[dark, 0].max() - model.template[dark, 0].min()
        assert 0.007 < width < 0.014  # metres; human irises measure 10.2 to 13 mm
    torch.testing.assert_close(inner_colours(model, 0.5), 0.5 * inner_colours(model))
