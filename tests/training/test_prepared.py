"""Prepared heads say what inference computes, to a byte, and are kept whole."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gen3dface.data_synth.shard_set import ShardSet
from gen3dface.errors import ConfigError, DataError
from gen3dface.models.photo_projection import PhotoProjection
from gen3dface.pipelines.conditions import build_scene, encode_scene, networks_of
from gen3dface.pipelines.preview import Preview
from gen3dface.pipelines.subjects import load_subjects
from gen3dface.training.prepared import PreparedFolder, chosen_views, pack_told, unpack_told
from gen3dface.training.sources import Heads
from gen3dface.training.start import preparation_for
from tests.data_synth.samples import random_sample
from tests.pipelines.tiny_models import PAPER, SMALL, tiny_pipeline


def _random_told(kind: str) -> PhotoProjection | Preview:
    random = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.rand(2, *shape, 6, 6, generator=random) * (torch.rand(2, *shape, 6, 6, generator=random) > 0.3)

    position, normal = 0.4 * draw(3) - 0.2, 2 * draw(3) - 1
    if kind == "preview":
        return Preview(draw(3), draw(1), draw(1), position, normal)
    return PhotoProjection(draw(2, 3), draw(2, 1), draw(4), position, normal, draw(1).ceil())


@pytest.mark.parametrize("kind", ["photo", "preview"])
def test_what_views_are_told_survives_its_bytes(kind: str) -> None:
    told = _random_told(kind)
    back = unpack_told(pack_told(told))
    assert type(back) is type(told)
    for field in fields(told):
        given, found = getattr(told, field.name), getattr(back, field.name)
        step = {"position": 0.2 / 127, "normal": 1 / 127}.get(field.name, 1 / 255)
        assert found.shape == given.shape
        assert (found - given).abs().max() <= step + 1e-6
        assert (found[given == 0] == 0).all()
        if field.name == "visibility":  # a condition's colour is zero where nothing is seen
            assert torch.equal(found > 0, given > 0)


@pytest.mark.parametrize(("model", "more"), [(SMALL, {}), (PAPER, {"trained_range": {}})], ids=["small", "paper"])
def test_training_sees_the_conditions_of_inference(model: dict[str, Any], more: dict[str, Any]) -> None:
    pipe = tiny_pipeline(model, **more)
    sample = random_sample(views=3)
    packed = chosen_views(preparation_for(pipe)(sample), range(3))
    subjects = load_subjects(sample.portrait, sample.head, None, pipe.config["image_size"], pipe.config["crop_side"])
    with torch.no_grad():
        given = build_scene(pipe, subjects, sample.cameras, None)
        prepared, targets = packed.unpack("cpu")
        found = encode_scene(networks_of(pipe), [prepared])
    torch.testing.assert_close(targets, sample.views.float() / 255)
    for name in ("tokens", "input_latent", "view", "photo_volume", "conditions"):
        a, b = getattr(given, name), getattr(found, name)
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, atol=0.03, rtol=0)  # a few bytes' steps, through the networks
    if given.copy is not None and found.copy is not None:
        torch.testing.assert_close(given.copy[0], found.copy[0], atol=0.01, rtol=0)
        # a byte's step of visibility, and what `clearly_seen`, six times as steep at most, makes of it
        torch.testing.assert_close(given.copy[1], found.copy[1], atol=7 / 255, rtol=0)
    assert given.geometry is not None and found.geometry is not None
    torch.testing.assert_close(given.geometry.frustum, found.geometry.frustum)


def test_the_photo_is_the_last_view() -> None:
    """Seen with its own camera, the mesh shows the photo itself."""
    pipe = tiny_pipeline(SMALL)
    head = preparation_for(pipe)(random_sample(views=2))
    assert torch.equal(head.targets[2], head.photo)
    prepared, _ = chosen_views(head, [2]).unpack("cpu")
    assert isinstance(prepared.told, PhotoProjection)
    seen = prepared.told.visibility[0, 0, 0] > 0.5
    assert seen.float().mean() > 0.1
    assert (prepared.told.colour[0, 0][:, seen] - prepared.image[:, seen]).abs().mean() < 0.08


def test_a_folder_gives_back_single_views(tmp_path: Path) -> None:
    head = preparation_for(tiny_pipeline(SMALL))(random_sample(views=4))
    folder = PreparedFolder(tmp_path / "cache")
    assert "id0" not in folder
    folder.put("id0", head)
    assert "id0" in folder and folder.views("id0") == 5
    for views in ([0, 1, 2, 3, 4], [3, 1]):
        found, wanted = folder.get("id0", views), chosen_views(head, views)
        for field in fields(head):
            a, b = getattr(found, field.name), getattr(wanted, field.name)
            assert (a is None and b is None) or torch.equal(a, b)
    path = folder.path("id0")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"id0\.safetensors is damaged"):
        folder.get("id0", [0])


def test_processes_that_look_at_different_times_leave_no_head_out(data: Path, tmp_path: Path) -> None:
    """The second process finds what the first has already written."""
    heads = Heads(ShardSet(data / "shards"), preparation_for(tiny_pipeline(SMALL)), str(tmp_path))
    for rank in (0, 1):
        heads.fill(0, rank, 2)
    assert heads.folder is not None
    assert all(key in heads.folder for key in heads.source.keys)


def test_larger_views_are_reduced_and_smaller_ones_refused() -> None:
    preparation = preparation_for(tiny_pipeline(SMALL))
    large, exact = random_sample(views=2, side=64), random_sample(views=2, side=32)
    found = preparation(large)
    assert found.targets.shape == (3, 4, 32, 32)
    torch.testing.assert_close(found.intrinsics, preparation(exact).intrinsics)
    with pytest.raises(ConfigError, match="16 px"):
        preparation(random_sample(side=16))


def test_the_folder_s_name_tells_data_and_settings_apart() -> None:
    small, paper = preparation_for(tiny_pipeline(SMALL)), preparation_for(tiny_pipeline(PAPER))
    other = preparation_for(tiny_pipeline(SMALL, crop_side=0.5))
    names = {small.key("x"), small.key("y"), paper.key("x"), other.key("x")}
    assert len(names) == 4
    assert small.key("x") == preparation_for(tiny_pipeline(SMALL)).key("x")
