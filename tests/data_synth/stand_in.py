"""A head that is known, where a generator or a capture is asked for."""

from types import SimpleNamespace

import torch
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.data_synth.panohead.generator import Identity, Shown
from gen3dface.data_synth.panohead.rendering import camera_rays
from gen3dface.data_synth.rendered.people.skin_library import Skin
from gen3dface.heads import load_head_model
from gen3dface.heads.anatomy import inner_colours, inner_parts
from gen3dface.raster import rasterize
from gen3dface.render import sample_texture


class Bust:
    """What `HeadSampler` asks of a generator, for OpenHead's mean, turned and scaled in a world of its own."""

    config = SimpleNamespace(z_dim=4)
    side = 256

    def __init__(self, skin: Skin) -> None:
        model = load_head_model()
        albedo = torch.from_numpy(skin.albedo.copy()).permute(2, 0, 1) / 255
        uvs = torch.zeros(len(model.template), 2)
        uvs[model.faces.flatten()] = model.uvs[model.uv_faces.flatten()]
        inner = inner_parts(model)[:, None]
        self.colours = torch.where(inner, inner_colours(model), sample_texture(albedo, uvs))
        self.vertices, self.faces = model.template / 0.6, model.faces

    def to(self, device: str) -> "Bust":
        return self

    def identity(self, z: Tensor, c: Tensor, psi: float, cutoff: int) -> Identity:
        return Identity(z, z, None)

    def shown(self, identity: Identity, cameras: Tensor, further: Tensor) -> Shown:
        pose = torch.linalg.inv(cameras[:, :16].view(-1, 4, 4))
        lens = cameras[:, 16:].view(-1, 3, 3) * torch.tensor([self.side, self.side, 1.0])[:, None]
        camera = Cameras(pose, lens, self.side, self.side)
        seen = rasterize(self.vertices, self.faces, camera)
        mask = seen.mask.float()[None, None]
        colour = seen.interpolate(self.colours, self.faces).permute(2, 0, 1)[None]
        directions = camera_rays(cameras, self.side)[1].view(self.side, self.side, 3)
        straight = (directions @ torch.linalg.inv(pose[0])[:3, 2])[None, None]  # cosine to the optical axis
        depth = torch.where(seen.mask, seen.depth, 0.0)[None, None] / straight
        return Shown((colour * mask + 0.8 * (1 - mask)) * 2 - 1, colour, depth, mask)
