"""What several tests of training data need."""

import pytest

from gen3dface.assets import fetch
from gen3dface.data_synth.rendered.people.skin_library import Skin, load_skins
from gen3dface.errors import AssetError


@pytest.fixture(scope="session")
def skins() -> tuple[Skin, ...]:
    """The true ones, baked into the cache on first use."""
    try:
        fetch("yunet")
        return load_skins()
    except AssetError as error:
        pytest.skip(f"needs assets: {error}")
