"""CLIP similarity: the cosine of two pictures' embeddings by CLIP's image encoder (Radford et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gen3dface.errors import CheckpointError
from gen3dface.files import file_sha256

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
_BATCH = 16


class ClipSimilarity:
    """Cosines of views to a photo, -1..1.

    Args:
        folder: a CLIP model with its image processor in transformers' format; nothing is downloaded. Papers seldom say
            which CLIP they used, and cosines of two do not compare: `name` tells it by its weights' hash.

    Raises:
        CheckpointError: the folder holds none.
    """

    def __init__(self, folder: str | Path) -> None:
        from transformers import AutoImageProcessor, CLIPModel

        try:
            self._model: Any = CLIPModel.from_pretrained(str(folder), local_files_only=True, use_safetensors=True)
            self._processor: Any = AutoImageProcessor.from_pretrained(str(folder), local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"'{folder}' holds no CLIP model in transformers' format: {error}") from error
        self._model.eval()
        digests = " ".join(file_sha256(path)[:16] for path in sorted(Path(folder).glob("*.safetensors")))
        self.name = f"clip {digests}"

    def __call__(self, photo: Image, views: Sequence[Image]) -> Array:
        """[N] of N views to the photo, each uint8 [H, W, 3] sRGB."""
        found = self.embed([photo, *views])
        return np.asarray(found[1:] @ found[0])

    @torch.no_grad()
    def embed(self, pictures: Sequence[Image]) -> Array:
        """Unit embeddings [N, D] of N pictures uint8 [H, W, 3], prepared as the folder's image processor says."""
        parts = [self._features(pictures[i : i + _BATCH]) for i in range(0, len(pictures), _BATCH)]
        features = np.concatenate(parts) if parts else np.zeros((0, self._model.config.projection_dim))
        return np.asarray(features / np.linalg.norm(features, axis=1, keepdims=True))

    def _features(self, pictures: Sequence[Image]) -> Array:
        pixels = self._processor(images=list(pictures), return_tensors="pt").pixel_values
        pooled = self._model.vision_model(pixel_values=pixels).pooler_output
        return np.asarray(self._model.visual_projection(pooled).double().numpy())
