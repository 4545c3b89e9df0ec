"""The projection engine's views as conditions: the photo's whole texture, made-up parts included, seen in each view.

Nothing here is learned or depends on the step. A network that is told these views starts from the preview and has only
to mend it: hair beyond the mesh, light, seams, and whatever the photo does not show.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dface.cameras import Cameras
from gen3dface.pipelines.appearance import photo_texture
from gen3dface.pipelines.subjects import Subject
from gen3dface.render import render, show_values

PREVIEW_PLANES = 3 + 1 + 1 + 3 + 3
_REACH = 0.2  # metres that a condition channel of 1 stands for: half the volume's side
_TEXELS = 2
SOLID = 1 - 1e-3  # coverage from which a pixel is the mesh alone


@dataclass(frozen=True)
class Preview:
    """N views of S x S pixels of the textured head."""

    colour: Tensor  # [N, 3, S, S] in 0..1 over white
    coverage: Tensor  # [N, 1, S, S] in 0..1
    confidence: Tensor  # [N, 1, S, S] in 0..1: 1 seen in the photo, about a half its mirror image, 0 made up or empty
    position: Tensor  # [N, 3, S, S] metres, 0 off the head
    normal: Tensor  # [N, 3, S, S] unit, 0 off the head

    def conditions(self) -> Tensor:
        """All of it in -1..1 as channels for the UNet: [N, PREVIEW_PLANES, S, S]."""
        centred = [2 * plane - 1 for plane in (self.colour, self.coverage, self.confidence)]
        return torch.cat([*centred, (self.position / _REACH).clamp(-1, 1), self.normal], 1)

    def picture(self) -> tuple[Tensor, Tensor]:
        """What the copy gate copies: pictures [N, 3, S, S] in 0..1 over white, and coverage [N, 1, S, S]."""
        return self.colour, self.coverage

    def trust(self) -> Tensor:
        """[N, 1, S, S] in 0..1: how far the photo itself stands behind each pixel.

        Not at all on the preview's outline, where its colours mix with white.
        """
        return self.confidence * (self.coverage > SOLID)


def preview(subject: Subject, views: Cameras, texels: int = _TEXELS) -> Preview:
    """The head as the projection engine shows it from N square views.

    texels: of the texture's side for a pixel of the views' side.
    """
    surface = subject.surface
    found = photo_texture(subject.portrait, subject.fit.camera, surface, subject.model, texels * views.height)
    planes = torch.cat([found.colour, found.confidence[None]])
    pictures, coverage = render(surface, planes, views, background=planes.new_tensor([1, 1, 1, 0]))
    position, normal = _geometry(subject, views)
    return Preview(pictures[:, :3], coverage, pictures[:, 3:], position, normal)


def _geometry(subject: Subject, views: Cameras) -> tuple[Tensor, Tensor]:
    """Positions and normals [N, 3, S, S] at the pixels' centres."""
    surface = subject.surface
    found = show_values(surface, torch.cat([surface.vertices, surface.normals()], 1), views)
    return found[:, :3], F.normalize(found[:, 3:], dim=1)
