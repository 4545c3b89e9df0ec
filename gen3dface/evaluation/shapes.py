"""How near estimators come to the true shapes of rendered people, from the photo's pixels on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
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


ShapeErrors: TypeAlias = "list[tuple[float, dict[str, Array]]]"
"""Of one estimator: each photo's yaw in degrees, and measure to millimetres; empty where it found no head."""


def run_shapes(choice: ShapeChoice, progress: bool = True) -> dict[str, ShapeErrors]:
    """Errors by estimator.

    Raises:
        CheckpointError, ConfigError, HeadModelError: an estimator cannot be read.
    """
    from gen3dface.data_synth.rendered.people.skin_library import load_skins
    from gen3dface.data_synth.rendered.samples.make import sit

    model, skins = load_head_model(), load_skins()
    systems: dict[str, Shape] = {estimator.title: open_shape(estimator) for estimator in choice.estimators}
    found: dict[str, ShapeErrors] = {name: [] for name in systems}
    for seed in tqdm(range(choice.first, choice.first + choice.heads), "shapes", unit="head", disable=not progress):
        sitting = sit(seed, skins)
        truth = Face.of(model.mesh(sitting.person.identity), model)
        yaw = abs(float(sitting.lens.azimuths[0]))
        for name, system in systems.items():
            errors: dict[str, Array] = {}
            try:  # the photo alone is handed on: landmarks and matte are found anew
                made = system(load_portrait(encode(sitting.portrait.image, "png")))
                errors = {measure: _MILLIMETRES * values for measure, values in shape_errors(made, truth)}
            except HeadModelError:
                raise  # the model's fault, whatever the photo
            except Gen3DFaceError as error:
                logger.warning("seed %d, %s: %s", seed, name, error)
            found[name].append((yaw, errors))
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
        rows = {who: [errors for yaw, errors in heads if low <= yaw < high] for who, heads in found.items()}
        table[name] = {who: _cells(heads, draws, seed) for who, heads in rows.items()}
    return table


def _cells(heads: list[dict[str, Array]], draws: int, seed: int) -> dict[str, Cell]:
    """Means, and NoW's medians over all points, of the photos in which a head was found; `found` is their share."""
    good = [errors for errors in heads if errors]
    if not good:
        return {"vertex, rigid": Cell(None, found=0.0)} if heads else {}
    share, cells = len(good) / len(heads), {}
    for measure in good[0]:
        values = [errors[measure] for errors in good]
        cells[measure] = replace(cell_of(values, draws, seed), found=share)
        if measure.startswith("NoW"):
            cells[f"{measure}, median"] = Cell(float(np.median(np.concatenate(values))), heads=len(good), found=share)
    return cells


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
