"""`HeadFit`: what an estimator knows about the head in a photo; it can be saved between stages."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.errors import EstimationError, HeadModelError
from gen3dface.estimators.hanging_hair import HangingHair
from gen3dface.estimators.landmark_model import EYE_JOINTS, LANDMARKS
from gen3dface.estimators.uncertainty import Uncertainty
from gen3dface.files import safetensors_note, write_atomically
from gen3dface.render import Surface

if TYPE_CHECKING:
    from gen3dface.heads import HeadMesh, HeadModel

_FORMAT = "gen3dface.head_fit.5"
_TENSORS = ("identity", "expression", "rotations", "offsets", "visibility", "residual")
_DEVIATIONS = ("rotation", "identity")
_HAIR = ("vertices", "faces", "uvs", "uv_faces")
_SHAPES: dict[str, tuple[int | None, ...]] = {  # None: any length
    "identity": (None,),
    "expression": (None,),
    "rotations": (None, 3),
    "offsets": (None, 3),
    "visibility": (None,),
    "residual": (LANDMARKS,),
}
_BYTES_LIMIT = 64 << 20


@dataclass(frozen=True)
class HeadFit:
    """A head model's coefficients and the camera that saw the head.

    The head stays in its own frame; its pose in the photo lives in `camera.world_to_camera`.
    """

    model_name: str
    model_version: str
    identity: Tensor  # [K] unit-normal coefficients
    expression: Tensor  # [E] in the model's order: 0..1 where these are ARKit's 52, FLAME's own else
    rotations: Tensor  # [J, 3] axis-angle of the joints, radians: gaze at the eyes', FLAME's open mouth at the jaw's
    offsets: Tensor  # [V, 3] metres, added to the posed head: the outline of the hair
    camera: Cameras  # N = 1, in the photo's pixels
    visibility: Tensor  # [V] in 0..1: how squarely and openly the photo sees each vertex, 0 where it does not
    residual: Tensor  # [478] reprojection error over the inter-ocular distance; NaN where the model has no landmark
    confidence: float  # 0..1, see `gen3dface.estimators.confidence`
    hair: HangingHair | None = None  # what hangs below the ears
    uncertainty: Uncertainty | None = None  # of pose and identity, where the estimator tells it

    def __post_init__(self) -> None:
        if len(self.camera) != 1:
            raise EstimationError(f"A HeadFit holds one camera, got {len(self.camera)}.")
        self.camera.check_finite()
        for name, shape in _SHAPES.items():
            _check("HeadFit", name, getattr(self, name), shape, nan=name == "residual")
        if len(self.offsets) != len(self.visibility):
            raise EstimationError(
                f"HeadFit.offsets has {len(self.offsets)} vertices, HeadFit.visibility {len(self.visibility)}."
            )
        if not 0 <= self.confidence <= 1:
            raise EstimationError(f"HeadFit.confidence is {self.confidence}, expected 0..1.")
        if self.hair is not None:
            _check_hair(self.hair)
        if self.uncertainty is not None and self.uncertainty.identity.shape != self.identity.shape:
            raise EstimationError(
                f"HeadFit.uncertainty is of {len(self.uncertainty.identity)} coefficients, not of {len(self.identity)}."
            )

    @property
    def median_residual(self) -> float:
        """Median reprojection error of the landmarks over the inter-ocular distance (outer corners, as if frontal)."""
        return self.residual.nanmedian().item()

    def check_model(self, model: HeadModel) -> None:
        """Raise `HeadModelError` unless this fit was made with `model`: coefficients do not carry over."""
        if (self.model_name, self.model_version) != (model.name, model.version):
            raise HeadModelError(
                f"This fit belongs to head model {self.model_name} {self.model_version}, not to {model.name} "
                f"{model.version}; load that model or estimate again."
            )

    def mesh(self, model: HeadModel) -> HeadMesh:
        """The posed head in the world frame (metres), in the photo's expression, with its hair's outline."""
        self.check_model(model)
        return self._dressed(model.mesh(self.identity, self.expression, self.rotations))

    def surface(self, model: HeadModel, neutral: bool = False) -> Surface:
        """Head and hanging hair as one textured surface, V + H vertices; at rest when `neutral`."""
        mesh = self.neutral_mesh(model) if neutral else self.mesh(model)
        surface = Surface(mesh.vertices, mesh.faces, mesh.uvs, mesh.uv_faces)
        return surface if self.hair is None else self.hair.added_to(surface)

    def neutral_mesh(self, model: HeadModel) -> HeadMesh:
        """The same person and hair without expression, looking where the photo's eyes look."""
        self.check_model(model)
        gaze = torch.zeros_like(self.rotations)
        for joint, name in enumerate(model.joint_names):
            if name in EYE_JOINTS:
                gaze[joint] = self.rotations[joint]
        return self._dressed(model.mesh(self.identity, None, gaze))

    def _dressed(self, mesh: HeadMesh) -> HeadMesh:
        return replace(mesh, vertices=mesh.vertices + self.offsets)

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, the same bytes for the same fit. Raises OutputError when it cannot be written."""
        write_atomically(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The file that `save` writes."""
        tensors = {name: getattr(self, name).detach().cpu().contiguous() for name in _TENSORS}
        tensors["world_to_camera"] = self.camera.world_to_camera.cpu().contiguous()
        tensors["intrinsics"] = self.camera.intrinsics.cpu().contiguous()
        tensors["image_size"] = torch.tensor([self.camera.height, self.camera.width])
        tensors["confidence"] = torch.tensor(self.confidence, dtype=torch.float64)
        note = {"format": _FORMAT, "model_name": self.model_name, "model_version": self.model_version}
        if self.hair is not None:
            tensors |= {f"hair.{name}": getattr(self.hair, name).cpu().contiguous() for name in _HAIR}
        if self.uncertainty is not None:
            tensors |= {
                f"uncertainty.{name}": getattr(self.uncertainty, name).cpu().contiguous() for name in _DEVIATIONS
            }
        # one value: safetensors writes several in an order that changes from run to run
        return save(tensors, {"head_fit": json.dumps(note)})

    @classmethod
    def load(cls, path: str | Path) -> HeadFit:
        """Read what `save` wrote.

        Raises:
            EstimationError: the file is missing, damaged, too large, or no head fit.
        """
        try:
            if Path(path).stat().st_size > _BYTES_LIMIT:
                raise EstimationError(f"{path} is larger than {_BYTES_LIMIT >> 20} MiB and cannot be a head fit.")
            data = Path(path).read_bytes()
        except OSError as error:
            raise EstimationError(f"{path} cannot be read as a head fit: {error!r}.") from error
        return cls.from_bytes(data, str(path))

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "head fit") -> HeadFit:
        """Read what `to_bytes` made; `name` is for messages. Raises `EstimationError` when it is anything else."""
        try:
            note = safetensors_note(data, "head_fit")
            return cls._from_tensors(load(data), note)
        except EstimationError:
            raise
        except Exception as error:  # a damaged file raises nearly anything
            raise EstimationError(f"{name} cannot be read as a head fit: {error!r}.") from error

    @classmethod
    def _from_tensors(cls, tensors: dict[str, Tensor], note: dict[str, Any]) -> HeadFit:
        if note.get("format") != _FORMAT:
            raise EstimationError(f"Not a head fit of this version: format is {note.get('format')!r}.")
        height, width = tensors["image_size"].tolist()
        camera = Cameras(tensors["world_to_camera"], tensors["intrinsics"], height, width)
        fields = {name: tensors[name] for name in _TENSORS}
        hair = HangingHair(*(tensors[f"hair.{name}"] for name in _HAIR)) if "hair.vertices" in tensors else None
        known = "uncertainty.identity" in tensors  # absent from files of before
        uncertainty = Uncertainty(*(tensors[f"uncertainty.{name}"] for name in _DEVIATIONS)) if known else None
        return cls(
            note["model_name"],
            note["model_version"],
            camera=camera,
            confidence=tensors["confidence"].item(),
            hair=hair,
            uncertainty=uncertainty,
            **fields,
        )


def _check(owner: str, name: str, tensor: Tensor, shape: tuple[int | None, ...], nan: bool = False) -> None:
    """Raise `EstimationError` unless `tensor` has the shape (None: any length) and finite numbers (or NaN)."""
    fits = tensor.ndim == len(shape) and all(b in (None, a) for a, b in zip(tensor.shape, shape, strict=True))
    if not (fits and tensor.is_floating_point()):
        wanted = ", ".join("*" if side is None else str(side) for side in shape)
        raise EstimationError(f"{owner}.{name} is float [{wanted}], got {tensor.dtype} {tuple(tensor.shape)}.")
    finite = torch.isfinite(tensor) | torch.isnan(tensor) if nan else torch.isfinite(tensor)
    if not bool(finite.all()):
        raise EstimationError(f"{owner}.{name} holds {'infinite' if nan else 'NaN or infinite'} values.")


def _check_hair(hair: HangingHair) -> None:
    _check("HangingHair", "vertices", hair.vertices, (None, 3))
    _check("HangingHair", "uvs", hair.uvs, (None, 2))
    for name, corners, count in (("faces", hair.faces, len(hair.vertices)), ("uv_faces", hair.uv_faces, len(hair.uvs))):
        if corners.shape != (len(hair.faces), 3) or corners.dtype != torch.int64:
            raise EstimationError(f"HangingHair.{name} is int64 [G, 3], got {corners.dtype} {tuple(corners.shape)}.")
        if corners.numel() and not (int(corners.min()) >= 0 and int(corners.max()) < count):
            raise EstimationError(f"HangingHair.{name} holds indices outside 0..{count - 1}.")
