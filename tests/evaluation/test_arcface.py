"""ArcFace: the layout it reads, the licence it guards, and, where that was accepted before, photos of known people."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import center_of_mass, label

from gen3dface.assets import home
from gen3dface.errors import AssetError, CheckpointError, NoFaceError
from gen3dface.evaluation.arcface import ArcFace
from gen3dface.evaluation.identity import cosine
from gen3dface.photo.detect import DetectedFace
from tests.evaluation.faces import DIFFERENT, SAME, face_bytes
from tests.evaluation.onnx_files import global_average

ASSET = home() / "assets" / "w600k_mbf.onnx"


def test_its_licence_must_be_accepted() -> None:
    with pytest.raises(AssetError, match="non-commercial"):
        ArcFace()


def test_what_the_network_sees(tmp_path: Path) -> None:
    """A network that averages: RGB, (x - 127.5) / 127.5, and unit length after it."""
    embed = ArcFace(global_average(tmp_path / "mean.onnx", (3, 112, 112)))
    chip = np.broadcast_to(np.array([255, 191, 64], np.uint8), (112, 112, 3))
    expected = (np.array([255, 191, 64]) - 127.5) / 127.5
    assert embed.embed(chip) == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)
    found = embed(face_bytes("obama"))
    assert found.shape == (3,) and np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
    with pytest.raises(NoFaceError):
        embed(np.full((128, 128, 3), 255, np.uint8))


def test_the_face_is_brought_to_the_published_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turned face, three times as large, with bright discs for eyes, nose and the corners of the mouth."""
    places = np.array([[38, 52], [74, 52], [56, 72], [42, 92], [71, 92]])
    turn = 3 * np.array([[0.9, -0.436], [0.436, 0.9]])
    points = places @ turn.T + [150, 20]
    rows, columns = np.mgrid[:480, :480] + 0.5
    bright = (np.hypot(columns[..., None] - points[:, 0], rows[..., None] - points[:, 1]) < 6).any(-1)
    picture = np.repeat(bright[..., None] * np.uint8(255), 3, 2)
    embed, seen = ArcFace(global_average(tmp_path / "mean.onnx", (3, 112, 112))), []
    face = DetectedFace((0, 0, 480, 480), points.astype(np.float32), 1.0)
    monkeypatch.setattr(embed, "_detector", lambda image: [face])
    monkeypatch.setattr(embed, "embed", seen.append)
    embed(picture)
    found, _ = label(seen[0][..., 0] > 100)
    centres = np.array(center_of_mass(seen[0][..., 0], found, range(1, 6)))[:, ::-1]
    expected = places[np.linalg.norm(places - centres[:, None], axis=-1).argmin(1)]
    assert len(np.unique(expected, axis=0)) == 5
    assert np.abs(centres - expected).max() < 0.7


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        ArcFace(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(CheckpointError, match="ONNX"):
        ArcFace(tmp_path / "bad.onnx")
    with pytest.raises(CheckpointError, match=r"layout.*224"):
        ArcFace(global_average(tmp_path / "large.onnx", (3, 224, 224)))


@pytest.mark.skipif(not ASSET.exists(), reason="arcface_mbf was not pulled: its licence is for the user to accept")
def test_one_person_is_near_and_two_are_far() -> None:
    embed = ArcFace(accept_non_commercial=True)
    found = {name: embed(face_bytes(name)) for name in set(itertools.chain(*SAME, *DIFFERENT))}
    assert min(cosine(found[a], found[b]) for a, b in SAME) > 0.45
    assert max(cosine(found[a], found[b]) for a, b in DIFFERENT) < 0.2
