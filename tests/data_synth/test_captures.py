"""Captures of a known head in a world of their own units and axes."""

from pathlib import Path

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from gen3dface.cameras import Cameras, rig
from gen3dface.data_synth.rendered.people.skin_library import Skin
from gen3dface.data_synth.shard_set import ShardSet
from gen3dface.data_synth.synthesis import engines
from gen3dface.data_synth.synthesis.captures import Captures, captures_in, content_hash, squared
from gen3dface.data_synth.synthesis.config import SynthConfig
from gen3dface.data_synth.synthesis.run import synthesise
from gen3dface.errors import DataError, EstimationError
from gen3dface.heads import load_head_model
from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.raster import rasterize
from gen3dface.similarity import Similarity
from tests.data_synth.stand_in import Bust

WORLD = Similarity(
    1.3,
    torch.from_numpy(Rotation.from_euler("xyz", [8, 35, -5], degrees=True).as_matrix()).float(),
    torch.tensor([0.02, -0.03, 0.01]),
)  # from the head's frame


def capture(skin: Skin, cameras: Cameras) -> MultiViewOutput:
    """OpenHead's mean with a skin, placed by `WORLD`."""
    bust = Bust(skin)
    vertices = WORLD(load_head_model().template)
    images, masks = [], []
    for camera in cameras:
        seen = rasterize(vertices, bust.faces, camera)
        mask = seen.mask.float()[None]
        images.append(seen.interpolate(bust.colours, bust.faces).permute(2, 0, 1) * mask + 1 - mask)
        masks.append(mask)
    return MultiViewOutput(torch.stack(images), torch.stack(masks), cameras)


def around(side: int) -> Cameras:
    """`head360` as seen from `WORLD`: the head turns with it."""
    back = Similarity(1 / WORLD.scale, WORLD.rotation.T, -(WORLD.rotation.T @ WORLD.translation) / WORLD.scale)
    return back.carried_back(rig("head360", side))


def test_the_views_lie_where_the_estimated_head_is(skins: tuple[Skin, ...], tmp_path: Path) -> None:
    capture(skins[0], around(256)).save(tmp_path / "anna")
    sample = Captures(tmp_path, 96, "CC0 (made)")(0)
    assert sample.views.shape == (16, 4, 96, 96) and sample.licences == ["CC0 (made)"]
    assert sample.provenance["photo"] == 0  # the one from in front
    model = load_head_model()
    mesh = sample.head.mesh(model)
    for view, camera in zip(sample.views[::3], sample.cameras[list(range(0, 16, 3))], strict=True):
        drawn, found = view[3] > 127, rasterize(mesh.vertices, model.faces, camera).mask
        line = _below_the_chin(camera)
        both, either = (drawn & found)[:line].sum(), (drawn | found)[:line].sum()
        assert both / either > 0.85


def _below_the_chin(camera: Cameras) -> int:
    return int(camera.project(torch.tensor([[0.0, -0.1, 0.0]]))[0][0, 0, 1])


def test_what_cannot_be_used_is_named(skins: tuple[Skin, ...], tmp_path: Path) -> None:
    whole = capture(skins[0], around(128))
    behind = MultiViewOutput(whole.tensor()[7:10], whole.masks[7:10], whole.cameras[[7, 8, 9]])
    behind.save(tmp_path / "behind")
    MultiViewOutput(whole.tensor(), torch.ones_like(whole.masks), whole.cameras).save(tmp_path / "unmasked")
    found = Captures(tmp_path, 64, "")
    for number, message in ((0, "no face"), (1, "neither alpha nor masks")):
        with pytest.raises(EstimationError, match=message):
            found(number)
    with pytest.raises(DataError, match="2 captures"):
        found(2)
    for nowhere in (tmp_path / "none", tmp_path / "behind" / "views"):
        with pytest.raises(DataError, match=nowhere.name):
            captures_in(nowhere)


def test_one_damaged_capture_does_not_end_the_run(skins: tuple[Skin, ...], tmp_path: Path) -> None:
    """Whatever is wrong with it, it is named; and no more identities are asked for than there are captures."""
    whole, captures = capture(skins[0], around(256)), tmp_path / "captures"
    for name in ("anna", "bert", "cora", "dora", "emma"):
        whole.save(captures / name)
    (captures / "anna" / "cameras.json").write_text("{")
    (captures / "bert" / "views" / "001.png").write_bytes(b"junk")
    (captures / "cora" / "cameras.json").write_bytes(b"[" * 100_000)
    for path in (captures / "emma").glob("*.json"):
        path.unlink()
    engines._generator.cache_clear()
    values = {"identities": 1000, "size": 32, "generator": {"kind": "folder", "path": str(captures)}}
    (note,) = synthesise(SynthConfig.model_validate(values), tmp_path / "out", progress=False)
    engines._generator.cache_clear()
    assert (note.seeds, note.made, sorted(note.skipped)) == (5, 1, ["0", "1", "2", "4"])
    for number, name in enumerate(("anna", "bert", "cora", "dora", "emma")):
        assert name in note.skipped.get(str(number), "dora")
    assert ShardSet(tmp_path / "out").keys == ["capture-000003"]
    with pytest.raises(DataError, match="5 captures"):
        synthesise(SynthConfig.model_validate({**values, "first": 5}), tmp_path / "more", progress=False)


def test_other_captures_are_another_synthesis(tmp_path: Path) -> None:
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "a.png").write_bytes(b"1")
    wanted = SynthConfig.model_validate({"identities": 1, "generator": {"kind": "folder", "path": str(tmp_path)}})
    before, listing = wanted.fingerprint, content_hash(tmp_path)
    (tmp_path / "anna" / "b.png").write_bytes(b"2")
    assert wanted.fingerprint != before and content_hash(tmp_path) != listing
    larger = wanted.fingerprint
    (tmp_path / "anna" / "b.png").write_bytes(b"3")  # of the same size
    assert wanted.fingerprint not in (before, larger)
    (tmp_path / "anna" / "b.png").unlink()
    assert wanted.fingerprint == before


def test_squared_pictures_show_points_where_they_were() -> None:
    cameras = rig("head360", 64)[[0, 3]].cropped(10, 0, 64, 40)
    points = torch.tensor([[0.02, 0.05, 0.06]])
    images: Tensor = torch.rand(2, 3, 64, 40)
    found = squared(MultiViewOutput(images, torch.ones(2, 1, 64, 40), cameras))
    assert (found.cameras.height, found.cameras.width) == (64, 64)
    torch.testing.assert_close(found.cameras.project(points)[0], cameras.project(points)[0] + torch.tensor([12.0, 0]))
    assert torch.equal(found.tensor()[..., 12:52], images) and found.masks[..., :12].sum() == 0
