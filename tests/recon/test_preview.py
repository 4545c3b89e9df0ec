"""Pictures of what was reconstructed, and the example of the page about it."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gen3dface.cameras import rig
from gen3dface.recon import TexturedHead, contact_sheet
from gen3dface.recon.extraction import Mesh
from gen3dface.recon.preview import write_preview
from gen3dface.recon.surface_texture import textured
from tests.recon.scenes import egg, orbiting, painted, pictures

PAGE = Path(__file__).parents[2] / "docs" / "reconstruction.md"


@pytest.fixture(scope="module")
def head() -> TexturedHead:
    return textured(Mesh(*egg()), painted, pictures(orbiting(12, 96)), 256)


def test_the_sheet_shows_the_head_from_eight_sides(head: TexturedHead) -> None:
    """Four to a row: the second row begins with the back."""
    sheet = np.asarray(contact_sheet(head, 64), dtype=np.float32) / 255
    true = pictures(rig("head360", 64)[::2]).tensor().permute(0, 2, 3, 1).numpy()
    assert sheet.shape == (128, 256, 3)
    for number, view in enumerate(true):
        row, column = divmod(number, 4)
        shown = sheet[64 * row : 64 * row + 64, 64 * column : 64 * column + 64]
        assert np.median(np.abs(shown - view)[view.min(2) < 0.9]) < 0.04


def test_a_preview_replaces_no_other_picture(head: TexturedHead, tmp_path: Path) -> None:
    assert write_preview(head, tmp_path / "egg.glb") == tmp_path / "egg.png"
    first = (tmp_path / "egg.png").read_bytes()
    assert write_preview(head, tmp_path / "egg.glb") == tmp_path / "egg.png"
    assert (tmp_path / "egg.png").read_bytes() == first
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    photo = (tmp_path / "photo.png").read_bytes()
    assert write_preview(head, tmp_path / "photo.glb") is None
    assert (tmp_path / "photo.png").read_bytes() == photo


def test_a_preview_spares_the_texture_of_an_obj(head: TexturedHead, tmp_path: Path) -> None:
    head.export(tmp_path / "egg.obj")
    texture = (tmp_path / "egg.png").read_bytes()
    assert write_preview(head, tmp_path / "egg.obj") == tmp_path / "egg.preview.png"
    assert (tmp_path / "egg.png").read_bytes() == texture


def test_the_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    pictures(orbiting(6, 48)).save(tmp_path / "DIR")
    monkeypatch.chdir(tmp_path)
    exec(found[1], {})
    assert (tmp_path / "head.glb").read_bytes()[:4] == b"glTF"
