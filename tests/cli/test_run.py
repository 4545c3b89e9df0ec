"""One photo to one folder: what is in it, and that it is whole or absent."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import trimesh
from PIL import Image

from gen3dface.cameras import Cameras, rig
from gen3dface.errors import NoFaceError, OutputError
from gen3dface.outputs.report import Settings, is_finished
from gen3dface.outputs.run import STAGE_NAMES, run_photo
from gen3dface.outputs.stages import PROJECTION, Stages
from gen3dface.outputs.staging import staged_folder
from gen3dface.outputs.turntable import write_video

SETTINGS = Settings(PROJECTION, views_size=64)
pytestmark = pytest.mark.usefixtures("short_turntable")


@pytest.fixture
def made(photo: Path, tmp_path: Path, stages: Stages, short_turntable: None) -> Path:
    run_photo(photo, tmp_path / "out" / "ada", SETTINGS, stages)
    return tmp_path / "out" / "ada"


def test_everything_is_there_and_nothing_else(made: Path) -> None:
    assert sorted(path.name for path in made.parent.iterdir()) == ["ada"]
    assert {"head.glb", "views.png", "confidence.png", "report.json", "index.html"} <= {p.name for p in made.iterdir()}
    assert sorted(path.name for path in (made / "views").iterdir()) == [f"{index:03d}.png" for index in range(16)]
    assert trimesh.load_scene(made / "head.glb").extents.min() > 0.1


def test_cameras_read_back(made: Path) -> None:
    cameras = Cameras.from_dict(json.loads((made / "cameras.json").read_text()))
    np.testing.assert_allclose(cameras.world_to_camera, rig("head360", 64).world_to_camera, atol=1e-6)


def test_nerf_transforms_point_at_the_views(made: Path) -> None:
    """In NeRF's convention the camera looks along its -z, and the head lies at the world's origin."""
    transforms = json.loads((made / "transforms.json").read_text())
    for frame in transforms["frames"]:
        assert (made / frame["file_path"]).is_file()
        pose = np.array(frame["transform_matrix"])
        toward_head = -pose[:3, 3] / np.linalg.norm(pose[:3, 3])
        np.testing.assert_allclose(-pose[:3, 2], toward_head, atol=1e-5)


def test_sheet_shows_the_views_in_order(made: Path) -> None:
    sheet = np.asarray(Image.open(made / "views.png"))
    assert sheet.shape == (4 * 64 + 3 * 4, 4 * 64 + 3 * 4, 3)
    seventh = np.asarray(Image.open(made / "views" / "006.png"))
    np.testing.assert_array_equal(sheet[68 : 68 + 64, 136 : 136 + 64], seventh)


def test_turntable_has_its_frames(made: Path) -> None:
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(made / "turntable.mp4"))
    assert frames == 5 and seconds == pytest.approx(5 / 16, abs=0.1)


def test_report_says_how_it_was_made(made: Path, photo: Path) -> None:
    text = (made / "report.json").read_text()
    report = json.loads(text)
    assert report["photo"] == {"name": "ada.png", "sha256": sha256(photo.read_bytes()).hexdigest()}
    assert report["settings"] == {
        "engine": "projection", "face": None, "seed": 0, "views_size": 64,
        "estimator": "default", "estimator_checkpoint": "", "head_model": "",
    }  # fmt: skip
    assert set(report["seconds"]) == {*STAGE_NAMES, "total"}
    assert report["seconds"]["total"] == pytest.approx(sum(report["seconds"][name] for name in STAGE_NAMES), abs=0.01)
    assert 50 < report["peak_memory_mib"]["process"] < 100_000
    assert report["warnings"] == ["<i>2 faces</i>"]
    assert report["head"]["landmark_error"] == 0.02 and report["head"]["triangles"] == 352
    assert {"gen3dface", "python", "torch"} <= set(report["versions"])
    assert str(photo.parent) not in text and str(made.parent) not in text


def test_stages_are_announced_in_order(photo: Path, tmp_path: Path, stages: Stages) -> None:
    heard: list[str] = []
    run_photo(photo, tmp_path / "out", SETTINGS, stages, heard.append)
    assert tuple(heard) == STAGE_NAMES


def test_same_photo_same_head(photo: Path, tmp_path: Path, stages: Stages, made: Path) -> None:
    run_photo(photo, tmp_path / "again", SETTINGS, stages)
    assert (tmp_path / "again" / "head.glb").read_bytes() == (made / "head.glb").read_bytes()


def test_finished_means_same_photo_same_settings(made: Path, photo: Path, make_photo: Callable[..., Path]) -> None:
    assert is_finished(made, photo, SETTINGS)
    assert is_finished(made, photo, replace(SETTINGS, seed=1))  # projection draws nothing at random
    assert not is_finished(made, photo, replace(SETTINGS, face=1))
    assert not is_finished(made, make_photo("other.png", (1, 2, 3)), SETTINGS)
    (made / "head.glb").unlink()
    assert not is_finished(made, photo, SETTINGS)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 7}', "[" * 100_000])
def test_a_damaged_report_is_not_finished(made: Path, photo: Path, content: str) -> None:
    (made / "report.json").write_text(content)
    assert not is_finished(made, photo, SETTINGS)


def test_a_bad_photo_leaves_nothing(make_photo: Callable[..., Path], tmp_path: Path, stages: Stages) -> None:
    black = make_photo("black.png", (0, 0, 0))
    with pytest.raises(NoFaceError):
        run_photo(black, tmp_path / "out" / "black", SETTINGS, stages)
    assert not (tmp_path / "out").exists()


def test_a_failed_run_keeps_the_earlier_head(made: Path, make_photo: Callable[..., Path], stages: Stages) -> None:
    before = (made / "head.glb").read_bytes()
    with pytest.raises(NoFaceError):
        run_photo(make_photo("black.png", (0, 0, 0)), made, SETTINGS, stages)
    assert (made / "head.glb").read_bytes() == before
    assert [path.name for path in made.parent.iterdir()] == ["ada"]


def test_a_new_run_replaces_the_earlier_head(made: Path, make_photo: Callable[..., Path], stages: Stages) -> None:
    (made / "views" / "999.png").touch()
    run_photo(make_photo("blue.png", (20, 20, 200)), made, SETTINGS, stages)
    assert json.loads((made / "report.json").read_text())["photo"]["name"] == "blue.png"
    assert not (made / "views" / "999.png").exists()
    assert [path.name for path in made.parent.iterdir()] == ["ada"]


def test_a_folder_of_someone_else_is_not_replaced(photo: Path, tmp_path: Path, stages: Stages) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="not written by gen3dface"):
        run_photo(photo, tmp_path / "out", SETTINGS, stages)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"


def test_a_file_in_the_place_of_the_folder(photo: Path, tmp_path: Path, stages: Stages) -> None:
    (tmp_path / "out").write_text("x")
    for folder in (tmp_path / "out", tmp_path / "out" / "ada"):
        with pytest.raises(OutputError, match=r"in the way|cannot write"):
            run_photo(photo, folder, SETTINGS, stages)
    assert (tmp_path / "out").read_text() == "x"


def test_interruption_removes_the_temporary_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(KeyboardInterrupt), staged_folder(tmp_path / "a" / "b" / "c" / "out") as staging:
        (staging / "half").touch()
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]


def test_a_new_parent_that_someone_else_uses_by_now_stays(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), staged_folder(tmp_path / "a" / "b" / "out"):
        (tmp_path / "a" / "note.txt").touch()
        raise KeyboardInterrupt
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "note.txt"]


def test_a_stage_that_cannot_read_is_not_taken_for_a_failed_write(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="weights"), staged_folder(tmp_path / "out"):
        raise FileNotFoundError(2, "no such file", "weights.onnx")
    assert not list(tmp_path.iterdir())


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from gen3dface.errors import OutputError
from gen3dface.outputs.staging import staged_folder
from gen3dface.outputs.turntable import write_video
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
noise = np.random.default_rng(0).integers(0, 255, (24, 64, 64, 3), np.uint8)
try:
    with staged_folder(Path(sys.argv[1])) as staging:
        write_video(staging / "turntable.mp4", noise)
except OutputError as error:
    assert "space" in str(error)
    sys.exit(3)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a file size limit of the operating system")
def test_full_disk_while_the_video_is_written(tmp_path: Path) -> None:
    result = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path / "out")], check=False)
    assert result.returncode == 3
    assert not list(tmp_path.iterdir())


def test_video_in_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        write_video(tmp_path / "none" / "turntable.mp4", np.zeros((3, 64, 64, 3), np.uint8))
