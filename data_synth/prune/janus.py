"""Has the head a face on its back? Of the views from behind, how likely the worst shows a face."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen3dface.errors import CheckpointError
from gen3dface.files import file_sha256
from gen3dface.photo.detect import FaceDetector

PROMPTS = ("back of human head", "human front face")  # Gen3D-Face's classes


class FrontJudge(Protocol):
    """Tells fronts from backs."""

    name: str  # of judge and weights: scores by different judges do not mix

    def __call__(self, pictures: Tensor) -> NDArray[np.float64]:
        """How likely each of pictures uint8 [N, 3, S, S] shows a face's front, [N] in 0..1."""
        ...


class ClipJudge:
    """CLIP's zero-shot choice between the two prompts (Radford et al., 2021; prompts of Gen3D-Face).

    Args:
        folder: a CLIP model with its processor in transformers' format, weights as safetensors; nothing is downloaded.

    Raises:
        CheckpointError: it holds none, or weights are missing in it.
    """

    def __init__(self, folder: str | Path) -> None:
        weights = sorted(Path(folder).glob("*.safetensors")) if str(folder) and Path(folder).is_dir() else []
        if not weights:
            raise CheckpointError(f"'{folder}' holds no CLIP model: no folder with *.safetensors is there.")
        self._model, self._processor = _loaded(Path(folder))
        digests = " ".join(file_sha256(path)[:16] for path in weights)
        self.name = f"clip {digests} {' / '.join(PROMPTS)}"

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> NDArray[np.float64]:
        """Softmax over both prompts, the face's share."""
        images = list(pictures.permute(0, 2, 3, 1).numpy())
        given = self._processor(text=list(PROMPTS), images=images, return_tensors="pt", padding=True)
        shares = self._model(**given).logits_per_image.softmax(1)[:, 1]
        return np.asarray(shares.double().numpy())


def _loaded(folder: Path) -> tuple[Any, Any]:
    """The model and its processor."""
    from transformers import AutoProcessor, CLIPModel

    try:
        model, found = CLIPModel.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        processor = AutoProcessor.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a damaged folder fails in whatever way its files are read
        raise CheckpointError(f"'{folder}' holds no CLIP model in transformers' format: {error!r}") from error
    missing = sorted(found["missing_keys"])  # which transformers would draw at random
    if missing:
        raise CheckpointError(f"'{folder}': {len(missing)} of CLIP's weights are missing: {', '.join(missing[:5])}.")
    return model.eval(), processor


class DetectorJudge:
    """A face detector's confidence: where no CLIP is at hand."""

    name = "detector yunet"

    def __init__(self) -> None:
        self._detector = FaceDetector()

    def __call__(self, pictures: Tensor) -> NDArray[np.float64]:
        """The best face's score, 0 where there is none."""
        images = pictures.permute(0, 2, 3, 1).contiguous().numpy()
        return np.array([max((face.score for face in self._detector(image)), default=0.0) for image in images])
