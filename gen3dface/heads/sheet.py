"""A picture of a head model: the mean head from three sides with its landmarks and joints, and its first components."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from gen3dface.cameras import Cameras, orbit
from gen3dface.heads.model import HeadMesh, HeadModel
from gen3dface.raster import rasterize

COMPONENTS = 5
_STEP = 2.0  # standard deviations
_CELL = 320  # px
_SAMPLES = 2  # a side of a pixel
_LABEL = 16  # px
_SKIN, _EYES = (0.86, 0.76, 0.68), (0.95, 0.95, 0.95)
_LANDMARK, _JOINT = (200, 30, 30), (20, 80, 200)
_LIGHT = (0.35, 0.45, 0.82)


def head_sheet(model: HeadModel) -> Image.Image:
    """Rows: mean head (front, three quarters, side, back; landmarks red, joints blue); components at -2; at +2."""
    views = {"front": 0.0, "three quarters": 40.0, "side": 90.0, "back": 180.0}
    cells = [_cell(model, model.mesh(), azimuth, name, marked=True) for name, azimuth in views.items()]
    rows = [cells]
    count = min(COMPONENTS, model.identity_size)
    for sign in (-_STEP, _STEP) if count else ():
        row = []
        for k in range(count):
            coefficients = torch.zeros(model.identity_size)
            coefficients[k] = sign
            row.append(_cell(model, model.mesh(coefficients), 25.0, f"identity {k}: {sign:+.0f}"))
        rows.append(row)
    sheet = Image.new("RGB", (_CELL * max(map(len, rows)), (_CELL + _LABEL) * len(rows)), "white")
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            sheet.paste(cell, (x * _CELL, y * (_CELL + _LABEL)))
    return sheet


def _cell(model: HeadModel, mesh: HeadMesh, azimuth: float, label: str, marked: bool = False) -> Image.Image:
    camera = _camera(model, azimuth)
    image = Image.fromarray(_shaded(model, mesh, camera.resized(_CELL * _SAMPLES, _CELL * _SAMPLES)))
    image = image.resize((_CELL, _CELL), Image.Resampling.BOX)
    cell = Image.new("RGB", (_CELL, _CELL + _LABEL), "white")
    cell.paste(image)
    draw = ImageDraw.Draw(cell)
    draw.text((4, _CELL), label, fill="black")
    if marked:
        _dots(draw, _facing(mesh, camera), camera, 1.2, _LANDMARK)
        _dots(draw, mesh.joints, camera, 4.0, _JOINT)
    return cell


def _camera(model: HeadModel, azimuth: float) -> Cameras:
    """A view that holds the whole mean head, whatever its unit."""
    middle = (model.template.amin(0) + model.template.amax(0)) / 2
    reach = float((model.template - middle).norm(dim=-1).max())
    round_origin = orbit(torch.tensor([azimuth]), torch.zeros(1), radius=8 * reach, focal=3.6, size=_CELL)
    moved = round_origin.world_to_camera.clone()
    moved[:, :3, 3] -= round_origin.rotations @ middle
    return Cameras(moved, round_origin.intrinsics, _CELL, _CELL)


def _shaded(model: HeadModel, mesh: HeadMesh, camera: Cameras) -> NDArray[np.uint8]:
    """[H, W, 3]: matt skin under one light beside the camera."""
    seen = rasterize(mesh.vertices, mesh.faces, camera, cull_back=True)
    eyes = torch.zeros(len(model.template), dtype=torch.bool)
    for name in ("left_eye", "right_eye"):
        eyes |= model.regions.get(name, eyes)
    colour = torch.where(eyes[:, None], torch.tensor(_EYES), torch.tensor(_SKIN))
    normals = torch.nn.functional.normalize(seen.gather(mesh.normals(), mesh.faces), dim=-1)
    in_camera = normals @ camera.world_to_camera[0, :3, :3].T * torch.tensor([1.0, -1.0, -1.0])
    shade = 0.35 + 0.65 * (in_camera @ torch.tensor(_LIGHT)).clamp(min=0)
    image = seen.scatter(seen.gather(colour, mesh.faces) * shade[:, None], 1.0)
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def _facing(mesh: HeadMesh, camera: Cameras) -> Tensor:
    """The landmarks [L, 3] that the head has on the side of the camera."""
    points, known = mesh.landmarks(), mesh.landmark_faces >= 0
    corner = mesh.faces[mesh.landmark_faces.clamp(min=0), 0]
    towards = ((camera.centers[0] - points) * mesh.normals()[corner]).sum(-1) > 0
    return points[known & towards]


def _dots(
    draw: ImageDraw.ImageDraw, points: Tensor, camera: Cameras, radius: float, fill: tuple[int, int, int]
) -> None:
    for x, y in camera.project(points)[0][0].tolist() if len(points) else ():
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
