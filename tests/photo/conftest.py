"""Fixtures that need networks: skipped, with the reason, only where the assets cannot be had."""

import numpy as np
import pytest
from skimage.data import astronaut

from gen3dface.assets import fetch
from gen3dface.errors import AssetError
from gen3dface.photo import Portrait, load_portrait
from gen3dface.photo.portrait import PhotoModels, default_models


@pytest.fixture(scope="session")
def models() -> PhotoModels:
    try:
        for name in ("yunet", "face_landmarker", "modnet", "selfie_multiclass"):
            fetch(name, progress=False)
    except AssetError as error:
        pytest.skip(f"needs assets: {error}")
    return default_models()


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """uint8 [512,512,3]: a public-domain portrait (NASA)."""
    return np.ascontiguousarray(astronaut())


@pytest.fixture(scope="session")
def portrait(models: PhotoModels, photo: np.ndarray) -> Portrait:
    return load_portrait(photo)
