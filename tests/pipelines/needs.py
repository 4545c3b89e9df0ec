"""What tests on real photos need."""

import pytest

from gen3dface.assets import fetch
from gen3dface.errors import AssetError

_ASSETS = ("yunet", "face_landmarker", "modnet", "selfie_multiclass")


def need_assets() -> None:
    """Skip the test where the networks that read a photo cannot be fetched."""
    try:
        for name in _ASSETS:
            fetch(name, progress=False)
    except AssetError as error:
        pytest.skip(f"needs assets: {error}")
