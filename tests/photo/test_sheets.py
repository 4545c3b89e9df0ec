"""The four sides of a head (synthetic people kept for tests): fronts are found, backs are refused."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from gen3dface.assets import fetch
from gen3dface.errors import AssetError, NoFaceError
from gen3dface.photo import find_faces, load_portrait

# Rows and columns of the head pictures in a 2400 x 1792 sheet, px.
ROWS = slice(148, 636)
COLUMNS = {"front": slice(78, 542), "left": slice(672, 1134), "back": slice(1266, 1730), "right": slice(1860, 2322)}


@pytest.fixture(scope="module", params=["P008", "P009", "P010"])
def sheet(models, request) -> np.ndarray:
    try:
        wheel = fetch("openpeople", progress=False)
    except AssetError as error:
        pytest.skip(f"needs assets: {error}")
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read(f"openpeople/data/curated/{request.param}/assets/character_sheet.jpg")
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_front_and_back(sheet):
    ((front, _),) = find_faces(np.ascontiguousarray(sheet[ROWS, COLUMNS["front"]]))
    assert front.score > 0.8
    with pytest.raises(NoFaceError):
        load_portrait(sheet[ROWS, COLUMNS["back"]])


def test_a_profile_is_warned_of_or_refused_with_the_reason(sheet):
    for side in ("left", "right"):
        try:
            portrait = load_portrait(sheet[ROWS, COLUMNS[side]])
        except NoFaceError as error:
            assert "a head was found" in str(error) and "both eyes" in str(error)
        else:
            assert "degrees from the camera" in portrait.warnings[0]
