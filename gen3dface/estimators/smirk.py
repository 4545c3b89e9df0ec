"""SMIRK (Retsinas et al., 2024): a photo to FLAME 2020 by three small MobileNetV3s.

Identity 300, expression 50, jaw 3, root turn 3, camera 3 (s, tx, ty). Its two eyelid weights drive shapes that SMIRK
adds to FLAME and FLAME's file does not have; they are read and left out, so that a blink may stay half open.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from gen3dface.estimators.checkpoint_reading import built, read_checkpoint, tensors_of
from gen3dface.estimators.crops import smirk_crop
from gen3dface.estimators.flame_head import require_flame, run_network, seen_fit
from gen3dface.estimators.networks.mobilenet_v3 import LARGE, LARGE_FEATURES, SMALL, SMALL_FEATURES, MobileNetV3

if TYPE_CHECKING:
    from gen3dface.estimators.head_fit import HeadFit
    from gen3dface.heads import HeadModel
    from gen3dface.photo.portrait import Portrait

IDENTITIES, EXPRESSIONS = 300, 50
_SIDEWAYS = 0.2  # radians that the jaw may turn and roll
_OURS, _OTHER = "smirk_encoder.", "smirk_generator."  # the second paints pictures and is not needed


class SmirkCode(NamedTuple):
    """What SMIRK says, [B, ...] each."""

    identity: Tensor  # [B, 300]
    expression: Tensor  # [B, 50]
    eyelids: Tensor  # [B, 2] in 0..1, left and right
    jaw: Tensor  # [B, 3] axis-angle
    pose: Tensor  # [B, 3] axis-angle of the root
    camera: Tensor  # [B, 3] s, tx, ty


class _PoseEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = MobileNetV3(SMALL, SMALL_FEATURES)
        self.pose_cam_layers = nn.Sequential(nn.Linear(SMALL_FEATURES, 3 + 3))


class _ShapeEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = MobileNetV3(LARGE, LARGE_FEATURES)
        self.shape_layers = nn.Sequential(nn.Linear(LARGE_FEATURES, IDENTITIES))


class _ExpressionEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = MobileNetV3(LARGE, LARGE_FEATURES)
        self.expression_layers = nn.Sequential(nn.Linear(LARGE_FEATURES, EXPRESSIONS + 2 + 3))


class SmirkNetwork(nn.Module):
    """Three encoders of the same picture, under SMIRK's names."""

    def __init__(self) -> None:
        super().__init__()
        self.pose_encoder = _PoseEncoder()
        self.shape_encoder = _ShapeEncoder()
        self.expression_encoder = _ExpressionEncoder()

    def forward(self, images: Tensor) -> SmirkCode:
        """[B, 3, 224, 224] RGB in 0..1; the jaw only opens, and turns sideways by at most 0.2."""
        pose, shape, face = self.pose_encoder, self.shape_encoder, self.expression_encoder
        turn, camera = pose.pose_cam_layers(pose.encoder(images)).split((3, 3), 1)
        identity = shape.shape_layers(shape.encoder(images))
        expression, eyelids, jaw = face.expression_layers(face.encoder(images)).split((EXPRESSIONS, 2, 3), 1)
        jaw = torch.cat([jaw[:, :1].relu(), jaw[:, 1:].clamp(-_SIDEWAYS, _SIDEWAYS)], 1)
        return SmirkCode(identity, expression, eyelids.clamp(0, 1), jaw, turn, camera)


def read_smirk(path: str | Path) -> nn.Module:
    """The encoder in `SMIRK_em1.pt`. Raises CheckpointError, see `checkpoint_reading`."""
    tensors = tensors_of(read_checkpoint(path), "SMIRK")
    wanted = {name.removeprefix(_OURS): value for name, value in tensors.items() if not name.startswith(_OTHER)}
    return built(SmirkNetwork, wanted, "SMIRK")


class SmirkEstimator:
    """A photo to a FLAME head by SMIRK's networks.

    Args:
        network: [1, 3, 224, 224] RGB in 0..1 -> `SmirkCode`. model: FLAME 2020. device: where the network is.
    """

    def __init__(
        self, network: Callable[[Tensor], SmirkCode], model: HeadModel, device: torch.device | str = "cpu"
    ) -> None:
        self.model = require_flame(model, "SMIRK", IDENTITIES, EXPRESSIONS)
        self.network, self.device = network, torch.device(device)

    def __call__(self, portrait: Portrait) -> HeadFit:
        """The head in a photo. Raises EstimationError where the network sees none."""
        crop = smirk_crop(portrait.landmarks)
        image = crop.cut(portrait.image).floor() / 255  # SMIRK's crops are 8-bit pictures
        code = SmirkCode(*(part[0] for part in run_network(self.network, image, self.device)))
        return seen_fit(
            portrait,
            self.model,
            crop,
            identity=code.identity,
            expression=code.expression,
            jaw=code.jaw,
            turn=code.pose,
            camera=code.camera,
        )
