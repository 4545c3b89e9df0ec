"""Unwrapped faces -> the network that reads identity from pixels, and its data file."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from estimator_training.refine import mirror_map
from estimator_training.ridge import face_metric
from gen3dface.estimators.landmark_model import LandmarkModel
from gen3dface.estimators.networks.face_pixels import FacePixelNetwork
from gen3dface.estimators.regression import Regressor, mirrored
from gen3dface.estimators.unwrapped_face import Unwrapping
from gen3dface.heads import HeadModel

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]
MODES = 40  # directions of the landmarks' error that are predicted; 99.7 % of its variance
HELD_OUT = 0.08  # of each kind of pictures, the last
BATCH, RATE, DECAY, DROPOUT, WARMUP = 64, 2e-3, 0.05, 0.3, 0.15
ERASED = 0.3  # share of the faces with something before them
# Shares of the network's answers that are believed, since no photo was drawn by the training's renderers. An iris is an
# iris, so size more than shape. On the one real scan 0.3 of shape is best, on drawn people all (docs/estimator.md).
SIZE_TRUST, SHAPE_TRUST = 0.75, 0.4
DOUBT = 0.15  # share of the regression's own covariance that stays: photos are less alike than the pictures here
LIMIT = 0.999  # quantile of the true answers' lengths; longer ones are cut to it


@dataclass(frozen=True)
class Faces:
    """Pictures of several kinds; each also turned over, left for right."""

    faces: Tensor  # uint8 [N, 3, S, S]
    features: tuple[Tensor, Tensor]  # [N, F] as seen and turned over
    wanted: tuple[Tensor, Tensor]  # [N, M] modes of what the landmarks miss
    held: NDArray[np.bool_]  # [N] kept out of the training
    kinds: NDArray[np.int64]  # [N]


@dataclass(frozen=True)
class Modes:
    """Main directions of the landmarks' error, by how far they move the face."""

    into: Array  # [K, M] identity -> units of the error's root mean square
    out: Array  # [M, K] back
    millimetres: float  # of a unit

    @classmethod
    def of(cls, errors: Array, model: HeadModel) -> Modes:
        """errors: [N, K] of identity."""
        values, axes = np.linalg.eigh(face_metric(model))
        moved = axes * np.sqrt(np.clip(values, 1e-12, None))  # |error @ moved|^2: mean squared displacement of the face
        lengths = errors @ moved
        unit = float(np.sqrt((lengths**2).sum(1).mean()))
        _, _, directions = np.linalg.svd(lengths, full_matrices=False)
        chosen = directions[:MODES]
        return cls(moved @ chosen.T / unit, unit * chosen @ np.linalg.inv(moved), unit * 1000)


def train(
    before: Regressor, kinds: Sequence[dict[str, NDArray]], model: HeadModel, epochs: int, seed: int = 0
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The data file's tensors, and what they were made from."""
    torch.manual_seed(seed)
    errors = [_errors(before, kind, mirror_map(model)) for kind in kinds]
    modes = Modes.of(np.concatenate([part for pair in errors for part in pair]), model)
    data = _gathered(before, kinds, errors, modes)
    network = FacePixelNetwork(data.features[0].shape[1], MODES, DROPOUT)
    network.inside.copy_(torch.from_numpy(Unwrapping.onto(before.reference).inside))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    _fit(network, data, epochs, modes.millimetres)
    return data_file(before, network, data, modes, model), {"pictures": len(data.kinds), "epochs": epochs}


def data_file(
    before: Regressor, network: FacePixelNetwork, data: Faces, modes: Modes, model: HeadModel
) -> dict[str, Tensor]:
    """The tensors of the data file; logs how far the pictures that were kept out are from the truth."""
    believed = modes.out @ _trust(before, model)
    answers, wanted = (t.double().numpy() for t in (_answers(network, data, data.held), data.wanted[0][data.held]))
    missed, left = wanted @ modes.out, wanted @ modes.out - answers @ believed
    for kind in np.unique(data.kinds):
        chosen = data.kinds[data.held] == kind
        shown = [_millimetres(errors[chosen], model) for errors in (missed, left)]
        logger.info("kind %d: %.3f mm from landmarks, %.3f with pixels", kind, *shown)
    own = {
        "modes": torch.from_numpy(believed).float(),
        "mirror": torch.from_numpy(mirror_map(model)).float(),
        "covariance": torch.from_numpy(_covariance(before, left, modes)).float(),
        "limit": torch.tensor(float(np.quantile(data.wanted[0].norm(dim=1).numpy(), LIMIT))),
    }
    return {**{n: v.half() if v.is_floating_point() else v for n, v in network.state_dict().items()}, **own}


def save(tensors: dict[str, Tensor], path: Path) -> None:
    """Write the data file."""
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    logger.info("%s: %d bytes", path, path.stat().st_size)


def _errors(before: Regressor, kind: dict[str, NDArray], mirror: Array) -> tuple[Array, Array]:
    """[N, K] what the regression misses in the pictures as they are and turned over."""
    identity = kind["identity"].astype(np.float64)
    plain = before.features(kind["landmarks"], kind["blendshapes"])
    turned = before.features(*mirrored(kind["landmarks"], kind["blendshapes"], before.reference))
    told = (features @ before.weights + before.intercept for features in (plain, turned))
    return identity - next(told), identity @ mirror - next(told)


def _gathered(
    before: Regressor, kinds: Sequence[dict[str, NDArray]], errors: Sequence[tuple[Array, Array]], modes: Modes
) -> Faces:
    def joined(parts: list[NDArray]) -> Tensor:
        return torch.from_numpy(np.concatenate(parts)).float()

    plain = joined([before.features(k["landmarks"], k["blendshapes"]) for k in kinds])
    turned = joined([before.features(*mirrored(k["landmarks"], k["blendshapes"], before.reference)) for k in kinds])
    counts = [len(kind["face"]) for kind in kinds]
    return Faces(
        torch.from_numpy(np.concatenate([k["face"] for k in kinds])).permute(0, 3, 1, 2).contiguous(),
        (plain, turned),
        (joined([e[0] @ modes.into for e in errors]), joined([e[1] @ modes.into for e in errors])),
        np.concatenate([np.arange(n) >= n * (1 - HELD_OUT) for n in counts]),
        np.repeat(np.arange(len(counts)), counts),
    )


def _fit(network: FacePixelNetwork, data: Faces, epochs: int, millimetres: float) -> None:
    kept = torch.from_numpy(np.flatnonzero(~data.held))
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    steps = epochs * (len(kept) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps, pct_start=WARMUP)
    start = time.monotonic()
    for epoch in range(epochs):
        order = kept[torch.randperm(len(kept))]
        for chosen in tqdm(order[: len(kept) // BATCH * BATCH].split(BATCH), leave=False, unit="step"):
            faces, features, wanted = _batch(network, data, chosen)
            loss = (network(faces, features) - wanted).square().sum(1).mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
        left = data.wanted[0][data.held] - _answers(network, data, data.held)
        shown = [_rms(left[torch.from_numpy(data.kinds[data.held] == k)]) * millimetres for k in set(data.kinds)]
        logger.info("epoch %d: %s mm left, %.0f s", epoch, np.round(shown, 3), time.monotonic() - start)


def _batch(network: FacePixelNetwork, data: Faces, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Half of them turned over; other colours, light and blemishes, noise, sometimes blur or something before the face.

    There are few skins to learn from, and others are to be read as well.
    """
    turned = torch.rand(len(chosen)) < 0.5
    faces = data.faces[chosen]
    faces[turned] = faces[turned].flip(-1)
    faces = network.normalised(faces)
    mixed = torch.einsum("nij,njhw->nihw", torch.eye(3) + 0.15 * torch.randn(len(chosen), 3, 3), faces)
    mixed = mixed * (1 + 0.15 * torch.randn(len(chosen), 1, 1, 1)) + 0.05 * torch.randn_like(mixed)
    mixed = _covered(_shaded(mixed)) * network.inside
    if torch.rand(()) < 0.3:
        mixed = nn.functional.avg_pool2d(mixed, 3, 1, 1)
    pick = [torch.where(turned[:, None], b[chosen], a[chosen]) for a, b in (data.features, data.wanted)]
    return mixed.to(memory_format=torch.channels_last), pick[0], pick[1]


def _shaded(faces: Tensor) -> Tensor:
    """Brighter here, darker there, and smooth stains of any colour."""
    light, stain = (_fields(len(faces), faces.shape[-1]) for _ in range(2))
    return faces * (1 + light) + 0.25 * stain * torch.randn(len(faces), 3, 1, 1)


def _fields(count: int, side: int) -> Tensor:
    """[count, 1, side, side] smooth, of deviation 0.2 at the knots."""
    return nn.functional.interpolate(0.2 * torch.randn(count, 1, 5, 5), (side, side), mode="bicubic")


def _covered(faces: Tensor) -> Tensor:
    """A rectangle of one colour on some of them (Zhong et al., 2020, "Random Erasing Data Augmentation")."""
    side = faces.shape[-1]
    for row in (torch.rand(len(faces)) < ERASED).nonzero()[:, 0].tolist():
        height, width = torch.randint(side // 8, side * 2 // 5, (2,)).tolist()
        top, left = (int(torch.randint(0, side - n, ())) for n in (height, width))
        faces[row, :, top : top + height, left : left + width] = 0.5 * torch.randn(3, 1, 1)
    return faces


@torch.no_grad()
def _answers(network: FacePixelNetwork, data: Faces, chosen: NDArray[np.bool_]) -> Tensor:
    network.eval()
    rows = torch.from_numpy(np.flatnonzero(chosen)).split(100)
    out = torch.cat([network(network.normalised(data.faces[r]), data.features[0][r]) for r in rows])
    network.train()
    return out


def _trust(before: Regressor, model: HeadModel) -> Array:
    """[K, K] that shortens an answer [.., K]: its change of size less than the rest."""
    slope = LandmarkModel.from_head(model).size_slope()
    alone = before.covariance @ slope / (slope @ before.covariance @ slope)  # what goes with a change of size by 1
    return np.asarray(SHAPE_TRUST * np.eye(len(slope)) + (SIZE_TRUST - SHAPE_TRUST) * np.outer(slope, alone))


def _covariance(before: Regressor, left: Array, modes: Modes) -> Array:
    """[K, K]: of errors [N, K] in the modes as measured; the rest, and a share of all, as the regression's."""
    rest = np.eye(left.shape[1]) - modes.into @ modes.out
    covariance = np.cov(left.T) + rest.T @ before.covariance @ rest
    covariance = (1 - DOUBT) * covariance + DOUBT * before.covariance
    return np.asarray((covariance + covariance.T) / 2)


def _millimetres(errors: Array, model: HeadModel) -> float:
    """Root mean square over the face of errors [N, K] of identity."""
    return 1000 * float(np.sqrt(np.einsum("nk,kl,nl->n", errors, face_metric(model), errors).mean()))


def _rms(rows: Any) -> float:
    return float((rows**2).sum(1).mean() ** 0.5)
