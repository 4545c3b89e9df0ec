"""Where MediaPipe's 478 landmarks lie on a head model's triangles, from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gen3dface.errors import HeadModelError
from gen3dface.heads.arrays import check_shape, read_npz, reading, to_float, to_index

LANDMARKS = 478
_KEYS = ("lmk_face_idx", "lmk_b_coords", "landmark_indices")


def no_landmarks() -> tuple[Tensor, Tensor]:
    """faces [478] of -1 and barycentric [478, 3] of 0: nothing is known."""
    return torch.full((LANDMARKS,), -1), torch.zeros(LANDMARKS, 3)


def read_landmarks(path: Path, faces: int) -> tuple[Tensor, Tensor]:
    """Triangle [478] int64 and barycentric coordinates [478, 3] of each landmark, -1 and 0 where the file has none.

    The layout is that of FLAME's embedding of 105 landmarks: `lmk_face_idx` [L], `lmk_b_coords` [L, 3] and
    `landmark_indices` [L], which of the 478 each one is.

    Args:
        faces: how many triangles the model has.

    Raises:
        HeadModelError: the file is of another kind, or points at triangles or landmarks that are not there.
    """
    arrays = read_npz(path, _KEYS)
    if missing := [key for key in _KEYS if key not in arrays]:
        raise HeadModelError(f"'{path}' is no embedding of MediaPipe's landmarks: {', '.join(missing)} missing.")
    with reading(path):
        face, weights, index = (arrays[key] for key in _KEYS)
        count = len(check_shape(face.reshape(-1), "lmk_face_idx", (None,)))
        check_shape(weights, "lmk_b_coords", (count, 3))
        check_shape(index.reshape(-1), "landmark_indices", (count,))
        for values, name, most in ((face, "lmk_face_idx", faces), (index, "landmark_indices", LANDMARKS)):
            if values.dtype.kind not in "iu" or (values.size and not 0 <= values.min() <= values.max() < most):
                raise HeadModelError(f"{name} points outside of 0..{most - 1}")
        if not np.allclose(weights.sum(1), 1, atol=1e-3):
            raise HeadModelError("lmk_b_coords do not sum to 1")
        places, barycentric = no_landmarks()
        places[to_index(index.reshape(-1))] = to_index(face.reshape(-1))
        barycentric[to_index(index.reshape(-1))] = to_float(weights, "lmk_b_coords")
    return places, barycentric
