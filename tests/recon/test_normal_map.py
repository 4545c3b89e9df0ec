"""Normal maps against a ball, whose normals are known everywhere."""

import json
import struct

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gen3dface.raster import rasterize_uv
from gen3dface.recon.export_glb import glb_bytes
from gen3dface.recon.extraction import Mesh
from gen3dface.recon.normal_map import FLAT, baked_normals, corner_tangents
from gen3dface.recon.textured_head import TexturedHead
from gen3dface.render import Surface

RADIUS = 0.1


def ball(detail: int, reach: float = 1.0) -> Surface:
    """A band of a ball, u along the equator, v upward."""
    azimuth, height = torch.linspace(-reach, reach, detail), torch.linspace(-reach, reach, detail)
    a, h = (t.reshape(-1) for t in torch.meshgrid(azimuth, height, indexing="ij"))
    points = RADIUS * torch.stack([h.cos() * a.sin(), h.sin(), h.cos() * a.cos()], 1)
    uvs = torch.stack([a, h], 1) / (2 * reach) + 0.5
    corner = (torch.arange(detail - 1)[:, None] * detail + torch.arange(detail - 1)).reshape(-1)
    lower, upper = ((0, detail, 1), (1, detail, detail + 1))
    faces = torch.cat([corner[:, None] + torch.tensor(steps) for steps in (lower, upper)])
    return Surface(points, faces, uvs * 0.9 + 0.05, faces)


def decoded(surface: Surface, picture: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """The points of the texels, and the normals that a renderer reads from them (glTF 2.0, 3.9.3)."""
    texels = rasterize_uv(surface.uvs, surface.uv_faces, len(picture))
    normal = F.normalize(texels.gather(surface.normals(), surface.faces), dim=1)
    frame = texels.gather(corner_tangents(surface, surface.normals()), surface.uv_faces)
    bitangent = frame[:, 3:] * torch.linalg.cross(normal, frame[:, :3])
    x, y, z = (torch.from_numpy(picture).reshape(-1, 3)[texels.pixels].float() / 255 * 2 - 1).split(1, 1)
    found = F.normalize(x * frame[:, :3] + y * bitangent + z * normal, dim=1)
    return texels.gather(surface.vertices, surface.faces), found


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_coarse_ball_gets_the_fine_one_s_normals(mirrored: bool) -> None:
    """6 x 6 quads of 19 degrees: the map holds the true normals to the third of a degree that a byte leaves."""
    coarse, fine = ball(7), ball(120)
    if mirrored:
        coarse = Surface(
            coarse.vertices,
            coarse.faces,
            torch.tensor([1.0, 0.0]) + coarse.uvs * torch.tensor([-1.0, 1]),
            coarse.uv_faces,
        )
    picture = baked_normals(coarse, Mesh(fine.vertices, fine.faces), 128)
    flat = np.broadcast_to(np.array(FLAT, np.uint8), picture.shape)
    errors = []
    for shown in (flat.copy(), picture):
        points, found = decoded(coarse, shown)
        true = F.normalize(points, dim=1)
        inner = (points[:, 0].abs() < 0.06) & (points[:, 1].abs() < 0.06)
        errors.append(torch.rad2deg(torch.linalg.cross(found, true).norm(dim=1).asin())[inner].mean())
    assert errors[1] < 0.3 and errors[1] < 0.4 * errors[0]


def test_tangents_run_with_u_and_bitangents_with_v() -> None:
    surface = ball(30)
    frame = corner_tangents(surface, surface.normals())
    east = F.normalize(
        torch.linalg.cross(torch.tensor([0.0, 1, 0]).expand_as(surface.vertices), surface.vertices), dim=1
    )
    assert ((frame[:, :3] * east).sum(1) > 0.99).all() and (frame[:, 3] == 1).all()


def test_where_there_is_no_finer_surface_it_is_flat() -> None:
    coarse, fine = ball(9), ball(40)
    far = baked_normals(coarse, Mesh(fine.vertices * 1.2, fine.faces), 64)
    none = baked_normals(
        coarse, Mesh(fine.vertices, fine.faces), 64, torch.zeros(len(coarse.vertices), dtype=torch.bool)
    )
    for picture in (far, none):
        assert np.abs(picture.astype(int) - FLAT).max() <= 1


def test_the_map_goes_into_the_glb_with_tangents() -> None:
    surface = ball(9)
    arrays = (a.numpy() for a in (surface.vertices, surface.faces, surface.uvs, surface.uv_faces))
    picture = np.full((16, 16, 3), FLAT, np.uint8)
    data = glb_bytes(TexturedHead(*arrays, np.zeros((8, 8, 3), np.uint8), normal_map=picture))
    document = json.loads(data[20 : 20 + struct.unpack("<I", data[12:16])[0]])
    assert document["materials"][0]["normalTexture"] == {"index": 1}
    assert [image["name"] for image in document["images"]] == ["texture", "normals"]
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    assert document["accessors"][attributes["TANGENT"]]["type"] == "VEC4"
