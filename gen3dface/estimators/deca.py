"""DECA (Feng et al., 2021): a photo to FLAME 2020 by one ResNet-50; the coarse model, without its details.

The 236 outputs are, in this order, 100 identity, 50 texture, 50 expression, 6 pose (root and jaw, axis-angle), 3
camera (s, tx, ty) and 27 light coefficients. Texture and light are not used.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gen3dface.estimators.checkpoint_reading import built, read_checkpoint, section
from gen3dface.estimators.crops import deca_crop
from gen3dface.estimators.flame_head import require_flame, run_network, seen_fit
from gen3dface.estimators.networks.resnet50 import ResNetRegressor

if TYPE_CHECKING:
    from gen3dface.estimators.head_fit import HeadFit
    from gen3dface.heads import HeadModel
    from gen3dface.photo.portrait import Portrait

SIZES = (100, 50, 50, 6, 3, 27)
# beside E_flame in deca_model.tar, and what DECA's own training adds
_OTHER_SECTIONS = ("E_detail", "D_detail", "opt", "global_step", "batch_size")


def read_deca(path: str | Path) -> torch.nn.Module:
    """The network in `deca_model.tar`. Raises CheckpointError, see `checkpoint_reading`."""
    tensors = section(read_checkpoint(path), "E_flame", _OTHER_SECTIONS, "DECA")
    return built(lambda: ResNetRegressor(sum(SIZES)), tensors, "DECA")


class DecaEstimator:
    """A photo to a FLAME head by DECA's network.

    Args:
        network: [1, 3, 224, 224] RGB in 0..1 -> [1, 236]. model: FLAME 2020. device: where the network is.
    """

    def __init__(
        self, network: Callable[[Tensor], Tensor], model: HeadModel, device: torch.device | str = "cpu"
    ) -> None:
        self.model = require_flame(model, "DECA", SIZES[0], SIZES[2])
        self.network, self.device = network, torch.device(device)

    def __call__(self, portrait: Portrait) -> HeadFit:
        """The head in a photo. Raises EstimationError where the network sees none."""
        crop = deca_crop(portrait.landmarks)
        code = run_network(self.network, crop.cut(portrait.image) / 255, self.device)[0]
        shape, _, expression, pose, camera, _ = code.split(SIZES)
        return seen_fit(
            portrait,
            self.model,
            crop,
            identity=shape,
            expression=expression,
            jaw=pose[3:],
            turn=pose[:3],
            camera=camera,
        )
