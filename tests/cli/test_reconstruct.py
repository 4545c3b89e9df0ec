"""`gen3dface reconstruct`: a folder of views in, a file out."""

from pathlib import Path

import pytest
import torch
import trimesh
from PIL import Image
from typer.testing import CliRunner

from gen3dface import cli
from gen3dface.errors import OutputError, ReconstructionError
from tests.recon.scenes import RADII, orbiting, pictures


@pytest.mark.parametrize("method", ["mesh", "field"])
def test_views_become_a_closed_file(tmp_path: Path, method: str) -> None:
    pictures(orbiting(10, 64)).save(tmp_path / "views")
    out = tmp_path / "new" / "egg.glb"
    size = ["--method", method, "--steps", "100", "--faces", "2000", "--texture-size", "128"]
    result = CliRunner().invoke(cli.app, ["reconstruct", str(tmp_path / "views"), "-o", str(out), *size])
    assert result.exit_code == 0, result.output
    mesh = trimesh.load(out, force="mesh", process=False)
    mesh.merge_vertices(merge_tex=True, merge_norm=True, digits_vertex=9)
    assert mesh.is_watertight
    assert mesh.extents == pytest.approx([2 * r for r in RADII], rel=0.06)
    assert str(out.with_suffix(".png")) in result.output
    with Image.open(out.with_suffix(".png")) as preview:
        assert preview.size == (4 * 256, 2 * 256)
        middles = [preview.getpixel((128 + 256 * i, 128 + 256 * j)) for i in range(4) for j in range(2)]
    assert (255, 255, 255) not in middles


def test_without_a_face_there_is_nothing_to_register(tmp_path: Path) -> None:
    pictures(orbiting(10, 64)).save(tmp_path / "views")
    command = ["reconstruct", str(tmp_path / "views"), "-o", str(tmp_path / "egg.glb"), "--steps", "20"]
    result = CliRunner().invoke(cli.app, [*command, "--topology", "registered"])
    assert isinstance(result.exception, ReconstructionError) and "show no face" in str(result.exception)
    assert not (tmp_path / "egg.glb").exists()


def test_a_place_that_cannot_be_written_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures(orbiting(10, 64)).save(tmp_path / "views")
    (tmp_path / "file").touch()
    monkeypatch.setattr("gen3dface.recon.surface.reconstruct_surface", lambda *_, **__: pytest.fail("worked in vain"))
    command = ["reconstruct", str(tmp_path / "views"), "-o", str(tmp_path / "file" / "egg.glb")]
    assert isinstance(CliRunner().invoke(cli.app, command).exception, OutputError)


def test_wrong_usage_and_folders_without_views(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli.app, ["reconstruct", str(tmp_path), "-o", str(tmp_path / "head.fbx")])
    assert result.exit_code == cli.USAGE and "must end in" in result.output
    result = CliRunner().invoke(cli.app, ["reconstruct", str(tmp_path), "-o", str(tmp_path / "head.glb")])
    assert isinstance(result.exception, ReconstructionError)
    command = ["reconstruct", str(tmp_path), "-o", str(tmp_path / "head.glb"), "--device"]
    result = CliRunner().invoke(cli.app, [*command, "abacus"])
    assert result.exit_code == cli.USAGE and "cpu or cuda" in result.output
    if not torch.cuda.is_available():
        result = CliRunner().invoke(cli.app, [*command, "cuda"])
        assert result.exit_code == cli.USAGE and "no CUDA device" in result.output
    assert not (tmp_path / "head.glb").exists()
