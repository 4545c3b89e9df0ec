"""How near estimators come to the true shapes of rendered people, from the photo's pixels on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from gen3dface.errors import Gen3DFaceError, HeadModelError
from gen3dface.estimators import load_estimator
from gen3dface.estimators.default import estimate_bald, population_prior
from gen3dface.evaluation.protocol import EstimatorChoice, ShapeChoice
from gen3dface.evaluation.shape.alignment import align
from gen3dface.evaluation.shape.chamfer import chamfer, surface_points
from gen3dface.evaluation.shape.closest import Surface
from gen3dface.evaluation.shape.now import SEVEN, crop, scan_to_mesh
from gen3dface.evaluation.shape.realy import region_errors
from gen3dface.evaluation.shape.vertex import vertex_errors
from gen3dface.evaluation.table import Cell, cell_of
from gen3dface.heads import HeadMesh, HeadModel, load_head_model
from gen3dface.outputs.pictures import encode
from gen3dface.photo import Portrait, load_portrait

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]
Shape: TypeAlias = "Callable[[Portrait], Face]"
"""A photo to a neutral head."""

YAWS = ((0.0, 20.0), (20.0, 40.0), (40.0, 60.0))  # degrees of the photo, either way
_MILLIMETRES = 1000.0
_POINTS = 4000
_THRESHOLD = 0.001  # metres, of precision and recall


@dataclass
class ShapeErrors:
    """Of one estimator: measure to one array of millimetres a head; the photos' yaws; photos that gave nothing."""

    errors: dict[str, list[Array]] = field(default_factory=dict)
    yaws: list[float] = field(default_factory=list)
    failed: int = 0


def run_shapes(choice: ShapeChoice, progress: bool = True) -> dict[str, ShapeErrors]:
    """Errors by estimator.

    Raises:
        CheckpointError, ConfigError, HeadModelError: an estimator cannot be read.
    """
    from gen3dface.data_synth.rendered.people.skin_library import load_skins
    from gen3dface.data_synth.rendered.samples.make import sit

    model, skins = load_head_model(), load_skins()
    systems: dict[str, Shape] = {estimator.kind: open_shape(estimator) for estimator in choice.estimators}
    found = {name: ShapeErrors() for name in systems}
    for seed in tqdm(range(choice.first, choice.first + choice.heads), "shapes", unit="head", disable=not progress):
        sitting = sit(seed, skins)
        truth = Face.of(model.mesh(sitting.person.identity), model)
        for name, system in systems.items():
            try:  # the photo alone is handed on: landmarks and matte are found anew
                portrait = load_portrait(encode(sitting.portrait.image, "png"))
                made = system(portrait)
            except Gen3DFaceError as error:
                logger.warning("seed %d, %s: %s", seed, name, error)
                found[name].failed += 1
                continue
            found[name].yaws.append(abs(float(sitting.lens.azimuths[0])))
            for measure, values in shape_errors(made, truth):
                found[name].errors.setdefault(measure, []).append(_MILLIMETRES * values)
    return found


@dataclass(frozen=True)
class Face:
    """A neutral head: vertices [V, 3], faces [F, 3], landmarks [478, 3] (NaN where the model has none), and which
    vertices are the face's skin."""

    vertices: Array
    faces: NDArray[np.int64]
    landmarks: Array
    skin: NDArray[np.bool_]

    @classmethod
    def of(cls, mesh: HeadMesh, model: HeadModel) -> Face:
        """Of a head model's mesh. Raises `HeadModelError` where it has no landmarks to be aligned by."""
        vertices = mesh.vertices.double().numpy()
        landmarks = mesh.landmarks().double().numpy()
        if not np.isfinite(landmarks[SEVEN]).all():
            raise HeadModelError(f"{model.name} lacks landmarks at eyes, nose or mouth; its shape cannot be measured.")
        none = torch.zeros(len(vertices), dtype=torch.bool)
        inner = torch.stack([none, *(m for name, m in model.regions.items() if name in _INNER)]).any(0).numpy()
        return cls(vertices, mesh.faces.numpy(), landmarks, crop(vertices, landmarks) & ~inner)


_INNER = {"left_eye", "right_eye", "mouth_interior", "tongue", "teeth", "gums"}


def shape_errors(made: Face, truth: Face) -> Iterator[tuple[str, Array]]:
    """Distances in metres by measure; those of vertices only where both have one topology."""
    if np.array_equal(made.faces, truth.faces):
        for name, scaled in (("vertex, rigid", False), ("vertex, similarity", True)):
            yield name, vertex_errors(made.vertices[truth.skin], truth.vertices[truth.skin], scaled)
    scan = truth.vertices[truth.skin]
    for name, metrical in (("NoW", False), ("NoW, metrical", True)):
        yield name, scan_to_mesh(scan, truth.landmarks, made.vertices, made.faces, made.landmarks, metrical)
    for region, values in region_errors(scan, truth.landmarks, made.vertices, made.faces, made.landmarks).items():
        yield f"REALY, {region}", values
    yield "Chamfer", np.array([_chamfer(made, truth)])


def _chamfer(made: Face, truth: Face) -> float:
    """Between the faces' skins, rigidly aligned by seven landmarks."""
    moved = align(made.landmarks[SEVEN], truth.landmarks[SEVEN], with_scale=False)
    sides = []
    for face, vertices in ((made, moved(made.vertices)), (truth, truth.vertices)):
        faces = face.faces[face.skin[face.faces].all(1)]
        sides.append((surface_points(vertices, faces, _POINTS), Surface(vertices, faces)))
    (points, surface), (true_points, true_surface) = sides
    return chamfer(points, true_points, surface, true_surface, _THRESHOLD).distance


def shape_table(found: dict[str, ShapeErrors], draws: int, seed: int) -> dict[str, dict[str, dict[str, Cell]]]:
    """Bin of the photo's yaw (or `all`), estimator, measure: the mean in millimetres."""
    table = {}
    for low, high in (*YAWS, (0.0, 90.0)):
        name = "all" if high == 90 else f"{low:.0f}-{high:.0f}"
        table[name] = {
            system: {
                measure: cell_of([v for v, yaw in zip(values, one.yaws, strict=True) if low <= yaw < high], draws, seed)
                for measure, values in one.errors.items()
            }
            for system, one in found.items()
        }
    return table


def open_shape(choice: EstimatorChoice) -> Shape:
    """The estimator that a protocol asks for, without hair and expression. Raises as `load_estimator`."""
    if choice.kind == "mean":
        model = load_head_model(choice.head or "openhead")
        average = model.mesh(torch.from_numpy(population_prior(model).mean).float())
        return lambda portrait: Face.of(average, model)
    if choice.kind == "default":
        model = load_head_model(choice.head or "openhead")
        return lambda portrait: Face.of(model.mesh(estimate_bald(portrait, model).identity), model)
    estimator = load_estimator(choice.kind, choice.checkpoint, choice.head)
    return lambda portrait: Face.of(estimator.model.mesh(estimator(portrait).identity), estimator.model)
