"""The whole way of `gen3dface eval` on one small head, whose truth is known."""

import dataclasses
import json
import mmap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from gen3dface import cli
from gen3dface.cameras import Cameras, rig
from gen3dface.data_synth.rendered.samples import make_sample
from gen3dface.errors import AssetError, CheckpointError, ConfigError, HeadModelError
from gen3dface.evaluation.cases import Case
from gen3dface.evaluation.comparison import compared
from gen3dface.evaluation.cost import measured
from gen3dface.evaluation.halves import halves_apart
from gen3dface.evaluation.protocol import EvalConfig
from gen3dface.evaluation.run import evaluate, run_sets, write_all_inputs
from gen3dface.evaluation.shapes import Face, shape_errors, shape_table
from gen3dface.heads import load_head_model
from gen3dface.pipelines.output import MultiViewOutput
from tests.recon.scenes import orbiting, pictures

VALUES = {
    "systems": [{"kind": "truth"}, {"kind": "mean_head"}, {"kind": "projection"}],
    "sets": [{"kind": "rendered", "heads": 1}],
    "size": 48,
    "measures": ["psnr", "iou", "ssim", "consistency"],
}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, skins: object) -> Path:
    folder = tmp_path_factory.mktemp("eval")
    evaluate(EvalConfig.model_validate(VALUES), folder, progress=False)
    return folder


def test_the_truth_is_perfect_and_the_person_s_shape_beats_the_average(out: Path) -> None:
    table = json.loads((out / "results.json").read_text())["sets"]["rendered"]
    psnr, iou = ({name: rows["all"][m]["mean"] for name, rows in table.items()} for m in ("psnr", "iou"))
    assert psnr["truth"] == pytest.approx(100) and iou["truth"] == 1 and table["truth"]["all"]["ssim"]["mean"] == 1
    assert psnr["truth"] > psnr["projection"] > psnr["mean_head"] > 5
    assert all(1 > iou[name] > 0.5 for name in ("projection", "mean_head"))
    assert set(table["projection"]) == {"0-45", "45-90", "90-180", "all"}
    page = (out / "index.html").read_text()
    assert page.count("<img") == 4 and "projection" in page  # the photo and three strips


def test_identity_is_of_the_same_views_for_all_systems(tmp_path: Path, skins: object) -> None:
    """Of those whose truth shows a face: from the front, not from behind, whatever a detector sees in made views."""
    systems = [{"kind": "truth"}, {"kind": "projection"}]
    evaluate(
        EvalConfig.model_validate(VALUES | {"systems": systems, "measures": ["identity"], "size": 96}),
        tmp_path,
        progress=False,
    )
    notes = [json.loads(path.read_text()) for path in (tmp_path / "records").rglob("*.json")]
    first, second = ([value is None for value in note["views"]["identity"]] for note in notes)
    assert first == second
    unseen = {azimuth: none for azimuth, none in zip(notes[0]["azimuths"], first, strict=True)}
    assert not unseen[0.0] and unseen[180.0]


def test_nothing_is_measured_twice_and_other_numbers_are_measured_anew(out: Path, tmp_path: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (out / "records").rglob("*.json")}
    first = json.loads((out / "results.json").read_text())
    evaluate(EvalConfig.model_validate(VALUES), out, progress=False)
    assert {p: p.stat().st_mtime_ns for p in (out / "records").rglob("*.json")} == before and len(before) == 3
    assert json.loads((out / "results.json").read_text()) == first
    page = evaluate(EvalConfig.model_validate(VALUES), tmp_path, progress=False)
    assert json.loads(page.with_name("results.json").read_text())["sets"] == first["sets"]
    other = EvalConfig.model_validate({**VALUES, "measures": ["psnr"], "systems": [{"kind": "truth"}]})
    assert set(run_sets(other, out, progress=False)["rendered"]["truth"][0].scores.views) == {"psnr"}


def test_another_system_s_pictures_are_scored_like_our_own(tmp_path: Path, skins: object) -> None:
    """The true views handed over as files: with alpha, or over white alone."""
    config = EvalConfig.model_validate({**VALUES, "systems": [{"kind": "truth"}]})
    assert write_all_inputs(config, tmp_path / "theirs", progress=False) == 1
    folder = tmp_path / "theirs" / "rendered" / "seed-900000000"
    assert {p.name for p in folder.iterdir()} == {"photo.png", "cameras.json", "transforms.json", "head.safetensors"}
    (folder / "views").mkdir()
    views = make_sample(900_000_000, rig("head360", 48)).views
    for i, view in enumerate(views.permute(0, 2, 3, 1).numpy()):
        Image.fromarray(view[..., :3]).save(folder / "views" / f"{i:03d}.png")
    command = ["eval", "-o", str(tmp_path / "out"), "--views", f"them={tmp_path / 'theirs'}", "--config"]
    protocol = tmp_path / "protocol.yaml"
    protocol.write_text(json.dumps({**VALUES, "systems": [{"kind": "truth"}]}))
    result = CliRunner().invoke(cli.app, [*command, str(protocol)])
    assert result.exit_code == 0, result.output
    table = json.loads((tmp_path / "out" / "results.json").read_text())["sets"]["rendered"]
    assert table["them"]["all"]["psnr"]["mean"] == pytest.approx(100)
    assert table["them"]["all"]["iou"]["mean"] > 0.97  # their masks are what is not white
    # a view that is missing, then there, then another one
    theirs = EvalConfig.model_validate({**VALUES, "systems": [{"kind": "folder", "path": str(tmp_path / "theirs")}]})
    third = folder / "views" / "003.png"
    kept = third.read_bytes()
    third.unlink()
    assert "003" in run_sets(theirs, tmp_path / "gap", progress=False)["rendered"]["theirs"][0].error
    third.write_bytes(kept)
    found = run_sets(theirs, tmp_path / "gap", progress=False)["rendered"]["theirs"][0]
    assert not found.error and found.scores.views["psnr"].min() == pytest.approx(100)
    Image.new("RGB", (48, 48), "grey").save(third)
    assert run_sets(theirs, tmp_path / "gap", progress=False)["rendered"]["theirs"][0].scores.views["psnr"][3] < 30


def test_a_wrong_pair_is_refused(tmp_path: Path) -> None:
    for pair in ("them", "=x", f"them={tmp_path / 'nowhere'}", f"a/b={tmp_path}", f"projection={tmp_path}"):
        result = CliRunner().invoke(cli.app, ["eval", "-o", str(tmp_path / "out"), "--views", pair])
        assert isinstance(result.exception, ConfigError) and not (tmp_path / "out").exists()


def test_what_the_user_named_is_looked_for_before_anything_is_made(tmp_path: Path) -> None:
    for named in (
        {"systems": [{"kind": "pipeline", "model": str(tmp_path / "nowhere")}]},
        {"clip": str(tmp_path / "nowhere")},
        {"arcface": str(tmp_path / "nowhere.onnx"), "measures": ["identity"]},
    ):
        with pytest.raises((CheckpointError, AssetError)):
            run_sets(EvalConfig.model_validate({**VALUES, **named}), tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_shapes_tell_how_many_photos_gave_a_head() -> None:
    errors = {"vertex, rigid": np.array([1.0, 3.0]), "NoW": np.array([1.0, 1.0, 7.0])}
    table = shape_table({"us": [(5.0, errors), (10.0, {}), (50.0, {})]}, 100, 0)
    cells = table["0-20"]["us"]
    assert cells["vertex, rigid"].mean == 2.0 and cells["vertex, rigid"].found == 0.5
    assert cells["NoW"].mean == 3.0 and cells["NoW, median"].mean == 1.0
    assert table["40-60"]["us"]["vertex, rigid"].mean is None and table["20-40"]["us"] == {}


def test_made_pixels_outside_of_the_truth_become_white_when_asked() -> None:
    views = pictures(orbiting(4, 32))
    smaller = views.masks * (torch.arange(32) < 16).float()[:, None]
    case = Case("egg", None, None, views.cameras, views.tensor(), smaller)  # type: ignore[arg-type]
    kept, cut = (compared(case, views, white_outside=white) for white in (False, True))
    assert torch.equal(kept.images, views.tensor())
    assert (cut.images[:, :, 16:] == 1).all() and (cut.masks[:, :, 16:] == 0).all()
    inside = smaller > 0
    assert torch.equal(cut.images[inside.expand(-1, 3, -1, -1)], views.tensor()[inside.expand(-1, 3, -1, -1)])


def test_halves_of_views_that_disagree_are_further_apart() -> None:
    """In one of the sets every other view shows an egg that is a tenth larger."""
    views = pictures(orbiting(12, 64))
    nearer = views.cameras.intrinsics.clone()
    nearer[:, :2, :2] *= 1.1
    larger = pictures(Cameras(views.cameras.world_to_camera, nearer, 64, 64))
    odd = (torch.arange(12) % 2 == 1)[:, None, None, None]
    mixed = MultiViewOutput(
        torch.where(odd, larger.tensor(), views.tensor()), torch.where(odd, larger.masks, views.masks), views.cameras
    )
    agreed, apart = halves_apart(views), halves_apart(mixed)
    assert agreed < 3 and apart > 2 * agreed


def test_cost_sees_what_was_taken() -> None:
    with measured() as before:
        pass
    with measured() as cost, mmap.mmap(-1, 96 << 20) as block:  # fresh pages, whatever the heap has to spare
        block.write(b"x" * len(block))
        time.sleep(0.1)
    assert cost.seconds >= 0.1 and cost.added_mib - before.added_mib > 80


def test_a_face_is_itself_and_a_larger_one_is_larger() -> None:
    model = load_head_model()
    truth = Face.of(model.mesh(), model)
    assert 500 < truth.skin.sum() < 4000
    itself = dict(shape_errors(truth, truth))
    assert all(float(values.max()) < 1e-7 for values in itself.values())
    grown = Face(1.1 * truth.vertices, truth.faces, 1.1 * truth.landmarks, truth.skin)
    larger = {name: float(values.mean()) for name, values in shape_errors(grown, truth)}
    assert larger["vertex, similarity"] < 1e-7 and larger["NoW"] < 1e-6
    assert larger["vertex, rigid"] > 0.003 and larger["NoW, metrical"] > 0.001 and larger["Chamfer"] > 0.001


def test_a_head_of_another_topology_has_no_vertex_error_but_distances() -> None:
    model = load_head_model()
    truth = Face.of(model.mesh(), model)
    other = Face(truth.vertices, truth.faces[::-1], truth.landmarks, truth.skin)
    found = dict(shape_errors(other, truth))
    assert "vertex, rigid" not in found and float(found["NoW, metrical"].max()) < 1e-7
    blank = dataclasses.replace(model, landmark_faces=torch.full_like(model.landmark_faces, -1))
    with pytest.raises(HeadModelError, match="lacks landmarks"):
        Face.of(blank.mesh(), blank)
