"""The default estimator on one real person's scan, which no model here was made from.

    python benchmarks/one_scan.py JAMES_FOLDER

JAMES_FOLDER holds james.obj, james.jpg and james.ljson (menpo3d's sample data, in its source distribution 0.8.6). The
textured scan is drawn at several yaws; each picture goes through the whole estimator. NoW distances (by
`gen3dface.evaluation.shape.now`) in millimetres, median / mean. One scan of one man with a short beard: an independent
check, no statistic.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from correspondence import outer_faces
from estimator import LANDMARKS, READ
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from gen3dface.cameras import Cameras
from gen3dface.estimators.default import fit_portrait, population_prior, regressed_prior
from gen3dface.estimators.landmark_model import LandmarkModel
from gen3dface.estimators.regression import bundled_regressor
from gen3dface.evaluation.shape.now import SEVEN, crop, scan_to_mesh
from gen3dface.heads import HeadModel, load_head_model
from gen3dface.photo.portrait import load_portrait
from gen3dface.raster import rasterize

Array = NDArray[np.float64]
YAWS = (0, 20, -20)
SIZE, DISTANCE, WIDTH = 640, 1.2, 0.4  # px; metres; metres across the picture
_MILLIMETRE = 0.001
_SEVEN_OF_68, _BRIDGE, _BRIDGE_OF_68 = [17, 20, 23, 26, 40, 48, 54], 168, 34  # in the file's own order of 68 points


@dataclass(frozen=True)
class Scan:
    """Metres, origin in the head."""

    vertices: Array
    faces: NDArray[np.int64]
    uvs: Array
    uv_faces: NDArray[np.int64]
    texture: NDArray[np.uint8]
    landmarks: Array  # [478, 3], NaN where unknown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    scan, model = load_scan(parser.parse_args().folder), load_head_model()
    landmarks, population = LandmarkModel.from_head(model), population_prior(model)
    rows = {"OpenHead mean": np.zeros(model.identity_size), "learned population's mean": population.mean}
    for yaw in YAWS:
        portrait = load_portrait(draw(scan, yaw))
        told = bundled_regressor().predict(portrait.landmarks, portrait.blendshapes) or population
        read = regressed_prior(portrait, model)
        rows[f"{LANDMARKS}, yaw {yaw}"] = told.mean
        rows[f"{READ}, yaw {yaw}"] = read.mean
        rows[f"estimator, yaw {yaw}"] = fit_portrait(portrait, model, landmarks, read).state.identity
    sys.stdout.write("| one scan | NoW, non-metrical | NoW, metrical |\n|---|---|---|\n")
    for name, identity in rows.items():
        cells = [f"{np.median(e):.2f} / {e.mean():.2f}" for e in (distances(scan, model, identity, m) for m in (0, 1))]
        sys.stdout.write(f"| {name} | {cells[0]} | {cells[1]} |\n")


def load_scan(folder: Path) -> Scan:
    table: dict[str, list[list[str]]] = {"v": [], "vt": [], "f": []}
    for line in (folder / "james.obj").read_text().splitlines():
        kind, *rest = line.split() or [""]
        table.get(kind, []).append(rest)
    vertices = np.array([row[:3] for row in table["v"]], float) * _MILLIMETRE
    corners = np.array([[corner.split("/")[:2] for corner in row] for row in table["f"]], np.int64) - 1
    points = json.loads((folder / "james.ljson").read_text())["groups"]["LJSON"]["landmarks"]["points"]
    points = np.array(points, float) * _MILLIMETRE
    origin = points.mean(0) - [0, 0, 0.06]
    landmarks = np.full((478, 3), np.nan)
    landmarks[[*SEVEN, _BRIDGE]] = (points - origin)[[*_SEVEN_OF_68, _BRIDGE_OF_68]]
    texture = np.asarray(cv2.cvtColor(cv2.imread(str(folder / "james.jpg")), cv2.COLOR_BGR2RGB), np.uint8)
    uvs = np.array([row[:2] for row in table["vt"]], float)
    return Scan(vertices - origin, corners[..., 0], uvs, corners[..., 1], texture, landmarks)


def draw(scan: Scan, yaw: float) -> NDArray[np.uint8]:
    """[SIZE, SIZE, 3] under the light of its capture, on grey."""
    transform = np.eye(4)
    transform[:3, :3] = np.diag([1.0, -1, -1]) @ Rotation.from_euler("y", yaw, degrees=True).as_matrix()
    transform[2, 3] = DISTANCE
    focal = SIZE * DISTANCE / WIDTH
    intrinsics = np.array([[focal, 0, SIZE / 2], [0, focal, SIZE / 2], [0, 0, 1]])
    camera = Cameras(*(torch.from_numpy(m)[None].float() for m in (transform, intrinsics)), SIZE, SIZE)
    fragments = rasterize(torch.from_numpy(scan.vertices).float(), torch.from_numpy(scan.faces), camera)
    uv = fragments.interpolate(torch.from_numpy(scan.uvs).float(), torch.from_numpy(scan.uv_faces)).numpy()
    height, width = scan.texture.shape[:2]
    shown = cv2.remap(scan.texture, uv[..., 0] * width - 0.5, (1 - uv[..., 1]) * height - 0.5, cv2.INTER_LINEAR)
    soft = cv2.GaussianBlur(fragments.mask.numpy().astype(np.float32), (0, 0), 0.8)[..., None]
    return (shown * soft + 150 * (1 - soft)).astype(np.uint8)


def distances(scan: Scan, model: HeadModel, identity: Array, metrical: bool) -> Array:
    """Millimetres, from the scan's vertices and triangles' centres within the NoW crop."""
    points = np.concatenate([scan.vertices, scan.vertices[scan.faces].mean(1)])
    mesh = model.mesh(torch.from_numpy(identity).float())
    skin = model.faces.numpy()[outer_faces(model)]
    vertices, landmarks = mesh.vertices.numpy().astype(np.float64), mesh.landmarks().numpy().astype(np.float64)
    kept = points[crop(points, scan.landmarks)]
    return scan_to_mesh(kept, scan.landmarks, vertices, skin, landmarks, metrical) / _MILLIMETRE


if __name__ == "__main__":
    main()
