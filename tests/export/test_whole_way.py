"""The whole way with nothing replaced: a real photo in, a valid, animatable head out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from gen3dface.errors import AssetError, NoFaceError
from gen3dface.evaluation import IdentityEmbedder, cosine
from gen3dface.evaluation.identity import SAME_PERSON
from gen3dface.examples import example_photo
from gen3dface.outputs.report import Settings
from gen3dface.outputs.run import run_photo
from gen3dface.outputs.stages import stages_of

# short hair, and hair that hangs in a mesh of its own
PHOTOS = ("astronaut", "openpeople_09")


@pytest.fixture(scope="module", params=PHOTOS)
def head_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An example photo and the folder made from it."""
    try:
        photo = example_photo(request.param)
    except AssetError as error:
        pytest.skip(f"needs assets: {error}")
    folder = tmp_path_factory.mktemp("heads") / request.param
    run_photo(photo, folder, Settings(views_size=192), stages_of("projection"))
    return photo, folder


def test_the_glb_is_valid_and_complete(
    head_folder: tuple[Path, Path], validate_gltf: Callable[[Path], dict[str, Any]]
) -> None:
    _, folder = head_folder
    report = validate_gltf(folder / "head.glb")
    assert report["issues"]["numErrors"] == 0
    assert report["issues"]["numWarnings"] == 0
    assert report["info"]["hasMorphTargets"]
    assert report["info"]["hasSkins"]
    scene = trimesh.load(folder / "head.glb")
    low, high = scene.bounds
    assert 0.2 < high[1] - low[1] < 0.45  # metres: head, neck and collar


def test_the_front_view_is_the_person_in_the_photo(head_folder: tuple[Path, Path]) -> None:
    photo, folder = head_folder
    facts = json.loads((folder / "report.json").read_text())["head"]
    assert facts["landmark_error"] < 0.025
    embed = IdentityEmbedder()
    pictures = [np.asarray(Image.open(p).convert("RGB")) for p in (photo, folder / "views" / "000.png")]
    same = cosine(*(embed(picture) for picture in pictures))
    assert same > 0.6 > SAME_PERSON


def test_the_back_shows_no_second_face(head_folder: tuple[Path, Path]) -> None:
    from gen3dface.photo import find_faces

    back = np.asarray(Image.open(head_folder[1] / "views" / "008.png").convert("RGB"))
    with pytest.raises(NoFaceError):
        find_faces(back)


def test_all_files_are_there(head_folder: tuple[Path, Path]) -> None:
    names = {p.name for p in head_folder[1].iterdir()}
    wanted = {"head.glb", "index.html", "views.png", "turntable.mp4", "report.json", "cameras.json", "transforms.json"}
    assert wanted | {"confidence.png"} <= names
    assert len(list((head_folder[1] / "views").glob("*.png"))) == 16
