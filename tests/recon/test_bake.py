"""What a texture knows of how well its texels were seen."""

import numpy as np
import torch

from gen3dface.bake import Picture, bake
from gen3dface.raster import rasterize_uv
from gen3dface.recon.extraction import Mesh
from gen3dface.recon.surface_texture import _charts
from gen3dface.render import Surface
from tests.recon.scenes import egg, orbiting, pictures


def test_confidence_tells_what_one_picture_saw() -> None:
    """From the front: sure where the egg faces the camera, 0 on its back, which keeps the base's colour."""
    vertices, faces = egg()
    ordered, uvs, uv_faces = _charts(Mesh(vertices, faces))
    surface = Surface(vertices, ordered, uvs, uv_faces)
    front = pictures(orbiting(1, 128))
    baked = bake(
        surface, [Picture(front.tensor()[0], front.masks[0, 0], front.cameras)], torch.full((3, 256, 256), 0.7)
    )
    texels = rasterize_uv(uvs, uv_faces, 256)
    depth = texels.scatter(texels.gather(vertices, ordered)).numpy()[..., 2]
    sure, seen = baked.confidences(), texels.mask.numpy()
    assert np.median(sure[seen & (depth > 0.08)]) > 240
    assert (sure[seen & (depth < -0.02)] == 0).all()
    assert np.abs(baked.pixels()[seen & (depth < -0.02)].astype(int) - round(0.7 * 255)).max() <= 1


def test_what_counts_less_tells_less() -> None:
    """A view of the back that counts a thirtieth, as those made from a photo do, leaves the back all but unknown."""
    vertices, faces = egg()
    ordered, uvs, uv_faces = _charts(Mesh(vertices, faces))
    both = pictures(orbiting(2, 128))
    shown = [
        Picture(image, mask[0], camera, priority)
        for image, mask, camera, priority in zip(both.tensor(), both.masks, both.cameras, (30.0, 1.0), strict=True)
    ]
    baked = bake(Surface(vertices, ordered, uvs, uv_faces), shown, torch.full((3, 256, 256), 0.7))
    texels = rasterize_uv(uvs, uv_faces, 256)
    depth = texels.scatter(texels.gather(vertices, ordered)).numpy()[..., 2]
    sure, seen = baked.confidences(), texels.mask.numpy()
    assert np.median(sure[seen & (depth > 0.08)]) > 240
    assert 0 < np.median(sure[seen & (depth < -0.06)]) < 10
