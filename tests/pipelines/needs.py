"""What tests on real photos need."""

import pytest

from gen3dface.assets import fetch
from gen3dface.errors import AssetError
from gen3dface.estimators import estimate
from gen3dface.examples import example_photo
from gen3dface.photo import load_portrait
from gen3dface.pipelines.subjects import Subject, load_subjects

_ASSETS = ("yunet", "face_landmarker", "modnet", "selfie_multiclass")


def need_assets() -> None:
    """Skip the test where the networks that read a photo cannot be fetched."""
    try:
        for name in _ASSETS:
            fetch(name, progress=False)
    except AssetError as error:
        pytest.skip(f"needs assets: {error}")


def example_subject(name: str, size: int) -> Subject:
    """An example photo and its estimated head for networks of `size` px; skips the test like `need_assets`."""
    need_assets()
    portrait = load_portrait(example_photo(name))
    return load_subjects(portrait, estimate(portrait), None, size, 0.4)[0]
