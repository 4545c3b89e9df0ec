"""Several photos in one call, and the command with its exit codes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gen3dface import __version__, cli
from gen3dface.errors import AssetError, OutputError
from gen3dface.files import file_sha256
from gen3dface.outputs import report
from gen3dface.outputs.batch import run_photos
from gen3dface.outputs.gallery import check_gallery
from gen3dface.outputs.inputs import find_photos
from gen3dface.outputs.report import Settings
from gen3dface.outputs.stages import Stages

pytestmark = pytest.mark.usefixtures("short_turntable")
Make = Callable[..., Path]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, stages: Stages) -> Callable[..., tuple[int, str]]:
    """Runs `gen3dface` with the small stages: exit code and all output."""
    monkeypatch.setattr(cli, "stages_of", lambda engine, estimator: stages)

    def run(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
        return result.exit_code, result.output

    return run


def test_one_photo(command: Callable[..., tuple[int, str]], photo: Path, tmp_path: Path) -> None:
    code, output = command("head", photo, "-o", tmp_path / "out", "--views-size", 64)
    assert code == 0 and "head.glb" in output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["ada"]


def test_the_example_is_installed(command: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    code, _ = command("head", "--example", "astronaut", "-o", tmp_path / "out", "--views-size", 64)
    assert code == 0 and (tmp_path / "out" / "astronaut" / "head.glb").is_file()


def test_one_bad_photo_does_not_stop_the_rest(
    command: Callable[..., tuple[int, str]], make_photo: Make, tmp_path: Path
) -> None:
    make_photo("photos/a.png")
    make_photo("photos/black.png", (0, 0, 0))
    (tmp_path / "photos" / "empty.jpg").touch()
    (tmp_path / "photos" / "paper.jpg").write_bytes(b"%PDF-1.7\n")
    make_photo("photos/z.png", (90, 90, 200))
    given, out = [tmp_path / "photos", tmp_path / "missing.png"], tmp_path / "out"
    code, output = command("head", *given, "-o", out, "--views-size", 64)
    assert code == 1
    assert "4 of 6 photos failed" in output
    for name in ("black", "empty", "paper", "missing"):
        assert f"failed: {name}: " in output
    assert sorted(path.name for path in out.iterdir()) == ["a", "index.html", "z"]
    page = (out / "index.html").read_text()
    assert re.findall(r'href="(.*?)"', page) == ["a/index.html", "z/index.html"]
    assert "2 made, 4 failed" in page


def test_a_single_failure_is_not_counted(
    command: Callable[..., tuple[int, str]], make_photo: Make, tmp_path: Path
) -> None:
    code, output = command("head", make_photo("black.png", (0, 0, 0)), "-o", tmp_path / "out")
    assert code == 1 and "failed: black: " in output and "1 of 1" not in output


def test_resume_makes_only_what_is_missing(
    command: Callable[..., tuple[int, str]], make_photo: Make, tmp_path: Path
) -> None:
    first, small = make_photo("photos/a.png"), ("--engine", "projection", "--views-size", 64)
    assert command("head", first, "-o", tmp_path / "out", *small)[0] == 0
    before = (tmp_path / "out" / "a" / "report.json").stat().st_mtime_ns
    make_photo("photos/b.png", (90, 90, 200))
    code, output = command("head", tmp_path / "photos", "-o", tmp_path / "out", *small, "--resume")
    assert code == 0 and output.count("made before") == 1
    assert (tmp_path / "out" / "a" / "report.json").stat().st_mtime_ns == before
    assert (tmp_path / "out" / "b" / "head.glb").is_file()
    command("head", first, "-o", tmp_path / "out", *small, "--resume", "--seed", 1)
    assert (tmp_path / "out" / "a" / "report.json").stat().st_mtime_ns == before, "projection draws nothing at random"
    command("head", first, "-o", tmp_path / "out", "--engine", "projection", "--views-size", 72, "--resume")
    assert (tmp_path / "out" / "a" / "report.json").stat().st_mtime_ns > before


def test_resume_goes_on_past_a_photo_that_cannot_be_read(
    make_photo: Make, tmp_path: Path, stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, settings = find_photos([make_photo("a.png"), make_photo("b.png")]), Settings(views_size=64)
    assert [o.state for o in run_photos(jobs, tmp_path / "out", settings, stages)] == ["done", "done"]

    def refuse_a(path: Path) -> str:  # as the operating system does; file modes do not bind an administrator
        if path.name == "a.png":
            raise PermissionError(13, "Permission denied")
        return file_sha256(path)

    monkeypatch.setattr(report, "file_sha256", refuse_a)
    outcomes = list(run_photos(jobs, tmp_path / "out", settings, stages, resume=True))
    assert [outcome.state for outcome in outcomes] == ["done", "skipped"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["head"],
        ["head", "a.png"],
        ["head", "-o", "out"],
        ["head", "--example", "nobody", "-o", "out"],
        ["head", "a.png", "-o", "out", "--engine", "magic"],
        ["head", "a.png", "-o", "out", "--views-size", "7"],
        ["head", "a.png", "-o", "out", "--face", "-1"],
        ["bake"],
    ],
)
def test_wrong_usage_is_2(command: Callable[..., tuple[int, str]], arguments: list[str]) -> None:
    assert command(*arguments)[0] == 2


def test_a_folder_without_photos_is_wrong_usage(command: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    code, output = command("head", tmp_path, "-o", tmp_path / "out")
    assert code == 2 and "no photos found" in output


def test_an_output_folder_that_is_a_file_fails(
    command: Callable[..., tuple[int, str]], photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("x")
    code, output = command("head", photo, "-o", tmp_path / "out")
    assert code == 1 and "cannot write" in output
    assert (tmp_path / "out").read_text() == "x"


def test_an_unexpected_error_costs_one_photo(make_photo: Make, tmp_path: Path, stages: Stages) -> None:
    def fails_on_a(photo: Path, face: int | None) -> object:
        if photo.name == "a.png":
            raise ZeroDivisionError
        return stages.load_portrait(photo, face)

    jobs = find_photos([make_photo("a.png"), make_photo("b.png")])
    broken = Stages(fails_on_a, stages.estimate, stages.make_views, stages.reconstruct)  # type: ignore[arg-type]
    outcomes = list(run_photos(jobs, tmp_path / "out", Settings(views_size=64), broken))
    assert [outcome.state for outcome in outcomes] == ["failed", "done"]
    assert "ZeroDivisionError" in outcomes[0].message


def test_missing_weights_stop_the_call(make_photo: Make, tmp_path: Path, stages: Stages) -> None:
    def no_weights(photo: Path, face: int | None) -> object:
        raise AssetError("yunet cannot be downloaded")

    broken = Stages(no_weights, stages.estimate, stages.make_views, stages.reconstruct)  # type: ignore[arg-type]
    with pytest.raises(AssetError):
        list(run_photos(find_photos([make_photo("a.png")]), tmp_path / "out", Settings(), broken))
    assert not (tmp_path / "out").exists()


def test_a_foreign_index_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<title>My home page</title>")
    with pytest.raises(OutputError, match=r"index\.html"):
        check_gallery(tmp_path)


def test_version(command: Callable[..., tuple[int, str]]) -> None:
    assert command("--version") == (0, f"gen3dface {__version__}\n")


def test_main_turns_a_known_error_into_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["gen3dface", "assets", "pull", "no-such-asset"])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    assert exit_info.value.code == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
