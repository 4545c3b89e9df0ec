"""What people wear, as surfaces that the renderer draws from both sides."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from gen3dface.data_synth.rendered.people.body import Array, Faces
from gen3dface.data_synth.rendered.people.fabric import Fabric
from gen3dface.data_synth.rendered.scene import LitSurface


def cloth_surface(vertices: Array, faces: Faces, fabric: Fabric, height: float = 0.0) -> LitSurface:
    """Cloth of vertices [V, 3] metres and faces [F, 3]; the fabric's middle lies `height` metres up."""
    points, corners = torch.from_numpy(vertices).float(), torch.from_numpy(faces)
    uvs = fabric.uvs(points - points.new_tensor([0.0, height, 0.0]))
    return LitSurface(points, corners, fabric.albedo, uvs, corners, specular=0.02, shininess=8, two_sided=True)


def plain_surface(
    vertices: Array, faces: Faces, colour: NDArray[np.float32], specular: float, shininess: float
) -> LitSurface:
    """One material; colour is a linear albedo [3] for all, or [V, 3]."""
    albedo = torch.from_numpy(np.broadcast_to(colour, vertices.shape).astype(np.float32))
    points, corners = torch.from_numpy(vertices).float(), torch.from_numpy(faces)
    return LitSurface(points, corners, albedo, specular=specular, shininess=shininess, two_sided=True)
