"""Pictures of ICT heads themselves, drawn as the benchmark draws its sitters, with other heads and other skins.

They show what the networks make of another mesh, of photographed skin and of a bald head.
"""

from __future__ import annotations

import sys
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from ict_heads import load_ict
from ict_pictures import draw_sitter, face_networks, openpeople_skins

from gen3dface.errors import NoFaceError
from gen3dface.photo.portrait import PhotoModels, load_portrait

SKINS = tuple(f"P{i:03d}" for i in range(1, 8))  # P008 to P010 are the benchmark's
MAX_YAW = 40.0
EXPRESSION = 0.6  # largest weight, in every other picture


class SitterStudio:
    """Draws random ICT heads and reads their landmarks."""

    def __init__(self, ict_path: Path) -> None:
        self._ict = load_ict(ict_path)
        self._skins = openpeople_skins(self._ict, SKINS)

    def sample(self, seed: int) -> dict[str, NDArray] | None:
        """One training sample, or None when no face is found."""
        sitter = draw_sitter(self._ict, self._skins, (0.0, MAX_YAW), seed, EXPRESSION * (seed % 2))
        try:
            portrait = load_portrait(sitter.image, models=self._networks)
        except NoFaceError:
            return None
        return {
            "identity": sitter.identity.astype(np.float32),
            "landmarks": portrait.landmarks,
            "blendshapes": portrait.blendshapes,
        }

    @cached_property
    def _networks(self) -> PhotoModels:
        return face_networks()
