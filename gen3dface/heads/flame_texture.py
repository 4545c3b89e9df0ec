"""FLAME's texture space: a linear model of albedo, as npz, from the user's own file.

Two kinds circulate: the one made from the Basel Face Model (`MU`, `PC`, 199 components, 0..1) and FLAME's own (`mean`,
`tex_dir`, 200 components, 0..255). Both are 512 x 512 with the channels in the order blue, green, red.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gen3dface.errors import HeadModelError
from gen3dface.heads.arrays import read_npz, reading, to_float

SIDE = 512
_KINDS = {("MU", "PC"): 1.0, ("mean", "tex_dir"): 255.0}
_MOST_BYTES = 4 << 30


@dataclass(frozen=True)
class FlameTexture:
    """sRGB = mean + coefficients . basis."""

    mean: Tensor  # [3, 512, 512] in 0..1
    basis: Tensor  # [N, 3, 512, 512]

    def texture(self, coefficients: Tensor) -> Tensor:
        """The albedo [3, 512, 512] of coefficients [n], n <= N, not clamped."""
        return self.mean + torch.tensordot(coefficients, self.basis[: len(coefficients)], 1)


def read_flame_texture(path: str | Path, components: int = 50) -> FlameTexture:
    """The first `components` of a texture space.

    Raises:
        HeadModelError: the file cannot be read, or is of another kind.
    """
    path = Path(path)
    arrays = read_npz(path, tuple(name for kind in _KINDS for name in kind), _MOST_BYTES)
    with reading(path):
        for (mean, basis), scale in _KINDS.items():
            if {mean, basis} <= arrays.keys():
                texels = 3 * SIDE * SIDE
                if any(arrays[name].dtype.kind not in "iuf" for name in (mean, basis)):
                    raise HeadModelError(f"{mean} and {basis} are no numbers")
                if arrays[mean].size != texels or not arrays[basis].size or arrays[basis].size % texels:
                    raise HeadModelError(f"{mean} and {basis} are not of {SIDE} x {SIDE} pixels")
                columns = arrays[basis].reshape(texels, -1)[:, :components]
                stacked = np.concatenate([arrays[mean].reshape(texels, 1), columns], 1).T.astype(np.float32) / scale
                images = to_float(stacked.reshape(-1, SIDE, SIDE, 3)[..., ::-1].transpose(0, 3, 1, 2), basis)
                return FlameTexture(images[0], images[1:])
        raise HeadModelError("it holds no texture space: neither MU and PC nor mean and tex_dir")
