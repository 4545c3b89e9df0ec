"""Classical head measures, to compare sampled heads with surveys of people."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from open_head.makehuman import FloatArray

# Mean and standard deviation (mm) of adults, men then women: Gordon et al., 1988 Anthropometric Survey of U.S. Army
# Personnel (ANSUR), rounded.
ANSUR = {
    "head_length": ((197, 7), (187, 6)),
    "head_breadth": ((152, 5), (144, 5)),
    "bizygomatic": ((140, 6), (131, 5)),
    "bigonial": ((118, 7), (109, 6)),
    "menton_vertex": ((232, 9), (218, 9)),
    "menton_sellion": ((122, 6.5), (113, 6)),
    "interpupillary": ((65, 3.5), (62, 3.5)),
    "nose_breadth": ((36, 4), (33, 4)),
    "lip_length": ((53, 4), (50, 4)),
}


class HeadRuler:
    """Measures heads by vertices chosen once on the rest shape.

    Args:
        rest: [V, 3] metres. masks: region masks [V].
    """

    def __init__(self, rest: FloatArray, masks: dict[str, NDArray[np.bool_]]) -> None:
        x, y, z = rest.T
        face, lips = masks["face"], masks["lips"]
        middle = np.abs(x) < 1e-5
        self._scalp = np.flatnonzero(masks["scalp"] | (face & (y > 0.012)))
        self._chin = _pick(face & middle & (z > 0.07), -y)
        self._sellion = _pick(face & middle & (np.abs(y - 0.004) < 0.012), -z)
        self._cheek = _pick(face & (np.abs(y + 0.018) < 0.012) & (z > 0.048) & (z < 0.07), x)
        self._jaw = _pick(face & (np.abs(y + 0.078) < 0.008) & (z < 0.055), x)
        self._nose = _pick(face & (np.abs(y + 0.038) < 0.008) & (z > 0.112) & (x < 0.0185), x)
        self._lip = _pick(lips, x)
        self._eyes = masks["left_eye"], masks["right_eye"]

    def __call__(self, heads: FloatArray) -> dict[str, FloatArray]:
        """Millimetres [N] of each measure for heads [N, V, 3]."""
        scalp = heads[:, self._scalp]
        across: Callable[[int], FloatArray] = lambda vertex: 2 * np.abs(heads[:, vertex, 0])  # noqa: E731
        left, right = (heads[:, eye].mean(1) for eye in self._eyes)
        metres = {
            "head_length": np.ptp(scalp[..., 2], axis=1),
            "head_breadth": np.ptp(scalp[..., 0], axis=1),
            "bizygomatic": across(self._cheek),
            "bigonial": across(self._jaw),
            "menton_vertex": scalp[..., 1].max(1) - heads[:, self._chin, 1],
            "menton_sellion": np.linalg.norm(heads[:, self._sellion] - heads[:, self._chin], axis=1),
            "interpupillary": np.linalg.norm(left - right, axis=1),
            "nose_breadth": across(self._nose),
            "lip_length": across(self._lip),
        }
        return {name: 1000 * value for name, value in metres.items()}


def _pick(mask: NDArray[np.bool_], score: FloatArray) -> int:
    return int(np.where(mask, score, -np.inf).argmax())
