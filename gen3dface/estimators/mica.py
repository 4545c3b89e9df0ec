"""MICA (Zielonka et al., 2022): a photo to the neutral shape of FLAME 2020, in metres, by face recognition.

ArcFace's features (iresnet100, of length 1) go through four layers to 300 identity coefficients. MICA says nothing of
pose and expression: these come from the photo's landmarks with the shape held fixed, see `fixed_shape_fit`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dface.estimators.checkpoint_reading import built, read_checkpoint, section
from gen3dface.estimators.crops import arcface_crop
from gen3dface.estimators.fixed_shape_fit import fit_pose_and_expression
from gen3dface.estimators.flame_head import flame_fit, jaw_rotations, padded, require_flame, run_network
from gen3dface.estimators.networks.iresnet import IResNet, MappingNetwork
from gen3dface.estimators.priors import LensPrior

if TYPE_CHECKING:
    from gen3dface.estimators.head_fit import HeadFit
    from gen3dface.heads import HeadModel
    from gen3dface.photo.portrait import Portrait

IDENTITIES = 300
_TRAINING = ("opt", "scheduler", "validator", "epoch", "global_step", "batch_size")  # what MICA's training adds
_FLAME = "generator."  # FLAME's own arrays, which the checkpoint repeats


class MicaNetwork(nn.Module):
    """Recognition and mapping, under the names of `mica.tar`'s two sections."""

    def __init__(self) -> None:
        super().__init__()
        self.arcface = IResNet()
        self.regressor = MappingNetwork(512, 300, IDENTITIES)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, 112, 112] aligned faces, RGB in -1..1 -> [B, 300]."""
        shape: Tensor = self.regressor(F.normalize(self.arcface(images)))
        return shape


def read_mica(path: str | Path) -> nn.Module:
    """The network in `mica.tar`. Raises CheckpointError, see `checkpoint_reading`."""
    content = read_checkpoint(path)
    arcface = section(content, "arcface", ("flameModel", *_TRAINING), "MICA")
    mapping = section(content, "flameModel", ("arcface", *_TRAINING), "MICA")
    tensors = {f"arcface.{name}": value for name, value in arcface.items()}
    tensors |= {name: value for name, value in mapping.items() if not name.startswith(_FLAME)}
    return built(MicaNetwork, tensors, "MICA")


class MicaEstimator:
    """A photo to a FLAME head: shape by MICA's network, pose and expression by the landmarks.

    Args:
        network: [1, 3, 112, 112] aligned face, RGB in -1..1 -> [1, 300]. model: FLAME 2020. device: the network's.
    """

    def __init__(
        self, network: Callable[[Tensor], Tensor], model: HeadModel, device: torch.device | str = "cpu"
    ) -> None:
        self.model = require_flame(model, "MICA", IDENTITIES, 0)
        self.network, self.device = network, torch.device(device)

    def __call__(self, portrait: Portrait) -> HeadFit:
        """The head in a photo. Raises EstimationError where landmarks and shape do not meet."""
        image = arcface_crop(portrait.landmarks).cut(portrait.image).round() / 127.5 - 1
        identity = padded(run_network(self.network, image, self.device)[0], self.model.identity_size)
        lens = LensPrior.for_image(portrait.height, portrait.width, portrait.focal)
        expression, jaw, camera = fit_pose_and_expression(portrait, self.model, identity, lens)
        rotations = jaw_rotations(self.model, jaw)
        return flame_fit(portrait, self.model, identity, expression, rotations, camera)
