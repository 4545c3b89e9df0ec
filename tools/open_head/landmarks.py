"""Places the 478 landmarks of MediaPipe's face mesh on the head by detecting them in renders of it.

Textured heads are drawn from many directions with the mouth a little open; each detected landmark is looked up in the
render's face index, which gives a point of the template, and the median over all renders is symmetrised and put back
on the surface.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.optimize import linear_sum_assignment

from gen3dface.cameras import Cameras, orbit
from gen3dface.heads.normals import vertex_normals
from gen3dface.photo.landmarks import FaceLandmarker, FaceRegion
from gen3dface.raster import Fragments, rasterize
from open_head.identity import symmetric
from open_head.makehuman import FloatArray, IntArray

COUNT = 478
IRIS_START = 468
LEFT_IRIS_START = 473
SIZE = 448
YAWS = (-36.0, -24.0, -12.0, 0.0, 12.0, 24.0, 36.0)
PITCHES = (-16.0, 0.0, 16.0)
SNAP = 5.0  # px: a landmark that falls just off the parts it may lie on is moved this far at most
FACING = 0.35  # least cosine between a surface and the view for a landmark to be trusted there
PRESENCE = 0.9
# From the camera: x right, y up, z toward it.
LIGHTS = ((0.35, 0.45, 0.85), (-0.45, 0.35, 0.8), (0.0, 0.6, 0.8))


@dataclass(frozen=True)
class Embedding:
    """Where each landmark lies, and how far single detections scatter around it."""

    faces: IntArray  # [478], -1 where the landmark was never seen
    barycentric: FloatArray  # [478, 3]
    scatter: FloatArray  # [478] metres, median distance of detections to the landmark


@dataclass(frozen=True)
class TexturedTemplate:
    """What the renders need."""

    template: FloatArray  # [V, 3] metres: where points are averaged
    faces: IntArray
    uvs: FloatArray
    uv_faces: IntArray
    skin_faces: NDArray[np.bool_]  # [F] outer skin
    left_eye_faces: NDArray[np.bool_]
    right_eye_faces: NDArray[np.bool_]


def embed(
    head: TexturedTemplate,
    shapes: list[FloatArray],  # [V, 3] each: heads to draw
    textures: list[NDArray[np.uint8]],  # one a shape, in the head's layout
    detector: FaceLandmarker,
) -> Embedding:
    """Detects, looks up, takes medians, symmetrises."""
    hits = [hit for k, shape in enumerate(shapes) for hit in _views(head, shape, textures[k], k, detector)]
    points = np.stack(hits)  # [N, 478, 3], NaN where missed
    medians = np.nanmedian(points, axis=0)
    pairs = mirror_pairs(medians)
    medians = symmetric(medians, pairs)
    faces, barycentric = np.full(COUNT, -1), np.zeros((COUNT, 3))
    for first, last, allowed in _parts(head):
        index = np.flatnonzero(allowed)
        chosen = np.arange(first, last)
        nearest, weights = closest_on(head.template[head.faces[index]], medians[chosen])
        faces[chosen], barycentric[chosen] = index[nearest], weights
    placed = (head.template[head.faces[faces]] * barycentric[..., None]).sum(1)
    scatter = np.nanmedian(np.linalg.norm(points - placed, axis=-1), axis=0)
    return Embedding(faces, barycentric, scatter)


def mirror_pairs(points: FloatArray) -> IntArray:
    """For each landmark its mirror image; a midline landmark is its own."""
    reflected = points * np.array([-1.0, 1.0, 1.0])
    distance = np.linalg.norm(points[:, None] - reflected[None], axis=-1)
    _, partner = linear_sum_assignment(distance + distance.T)
    lonely = np.flatnonzero(partner[partner] != np.arange(len(points)))
    if len(lonely):
        raise ValueError(f"landmarks {lonely.tolist()} have no mirror partner")
    return partner


def closest_on(triangles: FloatArray, points: FloatArray) -> tuple[IntArray, FloatArray]:
    """The triangle [N] of [F, 3, 3] nearest to each point [N, 3] and the barycentric place [N, 3] on it."""
    nearest = np.empty(len(points), dtype=np.int64)
    places = np.empty((len(points), 3))
    for i, point in enumerate(points):
        on = trimesh.triangles.closest_point(triangles, np.broadcast_to(point, (len(triangles), 3)))
        nearest[i] = np.linalg.norm(on - point, axis=1).argmin()
        places[i] = on[nearest[i]]
    weights = trimesh.triangles.points_to_barycentric(triangles[nearest], places)
    weights = np.clip(weights, 0, 1)
    return nearest, weights / weights.sum(1, keepdims=True)


def _parts(head: TexturedTemplate) -> list[tuple[int, int, NDArray[np.bool_]]]:
    """Ranges of landmarks and the faces they may lie on."""
    return [
        (0, IRIS_START, head.skin_faces),
        (IRIS_START, LEFT_IRIS_START, head.right_eye_faces),
        (LEFT_IRIS_START, COUNT, head.left_eye_faces),
    ]


def _views(
    head: TexturedTemplate, shape: FloatArray, texture: NDArray[np.uint8], turn: int, detector: FaceLandmarker
) -> list[FloatArray]:
    """Template points [478, 3] of the landmarks in each view of one head."""
    yaws, pitches = (torch.tensor(g).ravel() for g in np.meshgrid(YAWS, PITCHES))
    cameras = orbit(yaws.float(), pitches.float(), radius=1.0, focal=3.0, size=SIZE)
    hits = []
    for k, camera in enumerate(cameras):
        image, fragments, facing = render(head, shape, texture, camera, LIGHTS[(k + turn) % len(LIGHTS)])
        rows, columns = np.nonzero(fragments.mask.numpy())
        centre = (float(columns.mean()), float(rows.mean()))
        found = detector(image, FaceRegion(centre, SIZE * 0.9, 0.0), passes=3)
        if found.presence > PRESENCE:
            hits.append(_look_up(head, found.points[:, :2], fragments, facing))
    return hits


def render(
    head: TexturedTemplate,
    shape: FloatArray,
    texture: NDArray[np.uint8],
    camera: Cameras,
    light: tuple[float, float, float],
) -> tuple[NDArray[np.uint8], Fragments, FloatArray]:
    """A lit picture [H, W, 3], its fragments, and the cosine between surface and view [H, W]."""
    vertices, faces = torch.from_numpy(shape).float(), torch.from_numpy(head.faces)
    fragments = rasterize(vertices, faces, camera)
    normals = fragments.interpolate(vertex_normals(vertices, faces), faces)
    uv = fragments.interpolate(torch.from_numpy(head.uvs).float(), torch.from_numpy(head.uv_faces)).numpy()
    rows = ((1 - uv[..., 1]) * texture.shape[0]).astype(int).clip(0, texture.shape[0] - 1)
    columns = (uv[..., 0] * texture.shape[1]).astype(int).clip(0, texture.shape[1] - 1)
    direction = camera.rotations[0].T @ torch.tensor([light[0], -light[1], -light[2]])
    shade = 0.45 + 0.6 * (normals @ direction).clamp(min=0)
    colour = texture[rows, columns] * shade.numpy()[..., None]
    image = np.where(fragments.mask.numpy()[..., None], colour, 150).clip(0, 255).astype(np.uint8)
    facing = -(normals @ camera.rotations[0][2]).numpy()
    return image, fragments, facing


def _look_up(head: TexturedTemplate, xy: NDArray[np.float32], fragments: Fragments, facing: FloatArray) -> FloatArray:
    """Template points [478, 3] under the landmarks, NaN where there is none to trust."""
    face = fragments.face.numpy()
    surface = fragments.interpolate(torch.from_numpy(head.template).float(), torch.from_numpy(head.faces)).numpy()
    pixel = np.floor(xy).astype(int).clip(0, SIZE - 1)
    points = np.full((COUNT, 3), np.nan)
    for first, last, allowed in _parts(head):
        usable = allowed[np.maximum(face, 0)] & (face >= 0) & (facing > FACING)
        if not usable.any():
            continue
        distance, (rows, columns) = distance_transform_edt(~usable, return_indices=True)
        x, y = pixel[first:last].T
        near = distance[y, x] <= SNAP
        points[first:last][near] = surface[rows[y, x], columns[y, x]][near]
    return points
