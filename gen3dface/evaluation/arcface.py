"""ArcFace embeddings (Deng et al., CVPR 2019) by a network in ONNX, in insightface's layout: for figures that papers
give in "ArcFace similarity".

insightface's weights are for non-commercial research alone. None is used unless it is asked for: name a file, or accept
the licence of the asset "arcface_mbf" (MobileFaceNet of the package buffalo_s; papers mostly use a larger network,
whose cosines differ).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dface.assets import fetch
from gen3dface.errors import CheckpointError
from gen3dface.evaluation.face_chip import face_chip
from gen3dface.evaluation.faces import largest_face
from gen3dface.photo.detect import DetectedFace, FaceDetector

_SIDE = 112  # px of the chip
_BYTES_LIMIT = 1 << 30
# px of the chip, as published with ArcFace: right eye, left eye, nose, right and left mouth corner of the subject
_POINTS = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])


class ArcFace:
    """Embeddings of a picture's face; the interface is `IdentityEmbedder`'s.

    Args:
        model: an ONNX file of one input [N, 3, 112, 112], RGB, (x - 127.5) / 127.5, and one output [N, D]. By default
            the asset "arcface_mbf".
        accept_non_commercial: needed for the asset.

    Raises:
        AssetError: the asset's licence was not accepted, or it cannot be had.
        CheckpointError: the file is no such network.
    """

    def __init__(self, model: Path | None = None, *, accept_non_commercial: bool = False) -> None:
        path = model or fetch("arcface_mbf", accept_non_commercial=accept_non_commercial)
        self._session = _opened(Path(path))
        self._detector = FaceDetector()

    def __call__(self, image: NDArray[np.uint8], face: DetectedFace | None = None) -> NDArray[np.float32]:
        """Unit vector [D] for image uint8 [H, W, 3] sRGB.

        face: the one that is meant (default: the largest that is found).

        Raises:
            NoFaceError: no face was found.
        """
        face = face or largest_face(self._detector, image)
        return self.embed(face_chip(image, face.points, _POINTS + 0.5, _SIDE))

    def embed(self, chip: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Unit vector [D] of a face that is cut out already, uint8 [112, 112, 3]."""
        given = (chip.astype(np.float32).transpose(2, 0, 1)[None] - 127.5) / 127.5
        feature = np.asarray(self._session.run(None, {self._session.get_inputs()[0].name: given})[0])[0]
        return np.asarray(feature / np.linalg.norm(feature), np.float32)


def _opened(path: Path) -> Any:
    """A session on the CPU, its layout checked."""
    import onnxruntime

    try:
        size = path.stat().st_size
        if size > _BYTES_LIMIT:
            raise CheckpointError(f"{path} has {size:,} bytes; no face recogniser is so large.")
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    except CheckpointError:
        raise
    except Exception as error:  # onnxruntime's own kinds
        raise CheckpointError(f"{path.name} cannot be read as an ONNX network: {error}") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or list(inputs[0].shape[1:]) != [3, _SIDE, _SIDE] or len(outputs[0].shape) != 2:
        shapes = [i.shape for i in inputs], [o.shape for o in outputs]
        raise CheckpointError(
            f"{path.name} is no ArcFace in insightface's layout: inputs {shapes[0]}, outputs {shapes[1]}."
        )
    return session
