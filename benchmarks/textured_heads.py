"""Heads whose surface is known, as pictures from all around: what reconstructions are measured with.

ICT-FaceKit Light's heads (another topology than OpenHead's, eyes and mouth included) with the skins of OpenPeople
P008-P010 and a soft light that stays with the head, as in views of an engine. Faults are added on demand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from ict_heads import FACE, SKIN
from ict_pictures import seat_eyes
from numpy.typing import NDArray
from torch import Tensor

from gen3dface.cameras import Cameras, orbit, rig
from gen3dface.heads import HeadModel
from gen3dface.pipelines.output import MultiViewOutput
from gen3dface.raster import rasterize
from gen3dface.render import vertex_normals

UNSEEN = ((11, 10), (-35, 20), (80, -10), (150, 15), (-120, 0), (200, 25), (11, -15), (-60, 5))  # degrees
_FACE_RADIUS = 0.095  # metres around the nose's bottom, the NoW challenge's size
_NOSE_BOTTOM = 2  # of the 478 landmarks
_CUT = 0.03  # metres above the bust's lower end that are not measured: it is an open edge there


@dataclass(frozen=True)
class TexturedHeadTruth:
    """A surface in colours, and which of its vertices are measured."""

    vertices: Tensor  # [V, 3]
    faces: Tensor  # [F, 3]
    colours: Tensor  # [V, 3] in 0..1
    face: Tensor  # [A] vertices of the face that views see
    head: Tensor  # [B] of the whole head that views see

    def normals(self) -> Tensor:
        """[V, 3]."""
        return vertex_normals(self.vertices, self.faces)

    def sampled(self, count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Points [P, 3] spread evenly over the area of the head that views see, their unit normals, and which are face.

        Half of the vertices lie on an eighth of the area, at ears, lids and lips above all.
        """
        random = np.random.default_rng([29, seed])
        among = [torch.isin(self.faces, part).all(1) for part in (self.head, self.face)]
        corners = self.vertices[self.faces].double()
        sides = corners[:, 1:] - corners[:, :1]
        area = torch.linalg.cross(sides[:, 0], sides[:, 1]).norm(dim=1) * among[0]
        chosen = torch.from_numpy(random.choice(len(area), count, p=(area / area.sum()).numpy()))
        shares = torch.from_numpy(random.dirichlet((1, 1, 1), count))[..., None]
        points = (corners[chosen] * shares).sum(1)
        normals = (self.normals()[self.faces[chosen]] * shares).sum(1)
        return points, F.normalize(normals, dim=1), among[1][chosen]

    def seen_by(self, cameras: Cameras, supersample: int = 2) -> MultiViewOutput:
        """Its pictures over white."""
        images, masks = [], []
        for camera in cameras.resized(cameras.height * supersample, cameras.width * supersample):
            seen = rasterize(self.vertices, self.faces, camera)
            colour = seen.scatter(seen.gather(self.colours, self.faces), 1.0)
            both = torch.cat([colour, seen.mask[..., None].float()], -1).permute(2, 0, 1)
            small = F.avg_pool2d(both, supersample)
            images.append(small[:3])
            masks.append(small[3:])
        return MultiViewOutput(torch.stack(images), torch.stack(masks), cameras)


def random_head(ict: HeadModel, skins: Sequence[NDArray[np.float64]], seed: int) -> TexturedHeadTruth:
    """A neutral head; the same seed gives the same one."""
    random = np.random.default_rng([17, seed])
    mesh = seat_eyes(ict).mesh(torch.from_numpy(random.normal(size=ict.identity_size)).float())
    vertices, faces = mesh.vertices, ict.faces
    colours = in_soft_light(vertices, faces, torch.from_numpy(skins[seed % len(skins)]).float().clamp(0, 1))
    outer = seen_from(vertices, faces, rig("head360", 256))
    outer[SKIN[1] :] = False
    outer &= vertices[:, 1] > vertices[:, 1].min() + _CUT
    nose = torch.from_numpy(mesh.landmarks().numpy())[_NOSE_BOTTOM]
    near = near_nose(vertices, nose)
    near[FACE[1] :] = False
    return TexturedHeadTruth(vertices, faces, colours, (outer & near).nonzero()[:, 0], outer.nonzero()[:, 0])


def in_soft_light(vertices: Tensor, faces: Tensor, albedo: Tensor) -> Tensor:
    """Colours [V, 3] of display-referred albedo [V, 3] under a light that stays with the head."""
    light = torch.tensor([0.1, 0.15, 0.15]) @ vertex_normals(vertices, faces).T + 0.75
    return (albedo**2.2 * light[:, None]).clamp(0, 1) ** (1 / 2.2)


def near_nose(vertices: Tensor, nose: Tensor) -> Tensor:
    """[V] bool: the face, as the NoW challenge cuts it out around the nose's bottom [3]."""
    return (vertices - nose).norm(dim=1) < _FACE_RADIUS


def seen_from(vertices: Tensor, faces: Tensor, cameras: Cameras) -> Tensor:
    """[V] bool: part of what the cameras see."""
    found = torch.zeros(len(vertices), dtype=torch.bool)
    for camera in cameras:
        seen = rasterize(vertices, faces, camera)
        found[faces[seen.face[seen.mask]].flatten()] = True
    return found


def views_around(count: int, size: int) -> Cameras:
    """`count` views, evenly spaced; 48 are the paper's three rings."""
    if count == 48:
        return rig("orbit48", size)
    turns = torch.arange(count) * (360.0 / count)
    return orbit(turns, torch.zeros(count), radius=1.8, focal=4.5, size=size)


def unseen_cameras(size: int) -> Cameras:
    """Between and above the views."""
    azimuths, elevations = torch.tensor(UNSEEN, dtype=torch.float32).T
    return orbit(azimuths, elevations, radius=1.8, focal=4.5, size=size)


def with_faults(
    views: MultiViewOutput, colour: float = 0.0, degrees: float = 0.0, pixels: float = 0.0, seed: int = 0
) -> MultiViewOutput:
    """Views that disagree.

    Args:
        colour: share by which each view's colours are brighter or darker (half of the views each way).
        degrees: by which each camera is turned from where it says. pixels: by which masks are grown or eaten, smoothly.
    """
    random = np.random.default_rng([23, seed])
    count = len(views)
    gain = torch.from_numpy(1 + colour * random.permutation(np.linspace(-1, 1, count))).float()
    images = (views.tensor() * gain[:, None, None, None]).clamp(0, 1)
    images = images * views.masks + views.tensor() * (1 - views.masks)
    masks = torch.stack([_ragged(mask[0], pixels, random) for mask in views.masks])[:, None]
    turned = torch.stack([_turn(degrees, random) for _ in range(count)])
    poses = views.cameras.world_to_camera.clone()
    centre = torch.tensor([0.0, 0.0, float(poses[0, 2, 3])])  # the head is turned a little before the camera
    poses[:, :3] = turned @ (poses[:, :3] - F.pad(centre[:, None], (3, 0)))
    poses[:, :3, 3] += centre
    return replace(views, images=images, masks=masks, cameras=replace(views.cameras, world_to_camera=poses))


def _turn(degrees: float, random: np.random.Generator) -> Tensor:
    axis = torch.from_numpy(random.normal(size=3)).float()
    x, y, z = (axis / axis.norm() * np.deg2rad(degrees)).tolist()
    return torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]]))


def _ragged(mask: Tensor, pixels: float, random: np.random.Generator) -> Tensor:
    """The outline moved by a smooth random amount of `pixels` (standard deviation)."""
    if pixels == 0:
        return mask
    coarse = torch.from_numpy(random.normal(0, pixels, (2, 1, 12, 12))).float()
    shift = F.interpolate(coarse, mask.shape, mode="bicubic")[:, 0].permute(1, 2, 0)
    height, width = mask.shape
    rows, columns = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], -1) + shift
    where = grid / grid.new_tensor([width, height]) * 2 - 1
    return F.grid_sample(mask[None, None], where[None], align_corners=False)[0, 0]
