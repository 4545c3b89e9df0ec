"""The regions that the package asks a head for, where its own file does not name them.

Mean heads of adults differ by millimetres: with the eyes in one place, a vertex belongs to the region of the bundled
head's nearest vertex.
"""

from __future__ import annotations

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from gen3dface.heads.anatomy import inner_parts
from gen3dface.heads.open_head import load_open_head

EYES = (0.0, 0.002, 0.07)  # metres: the middle between the eyeballs' centres in our frame
_FAR = 0.03  # metres beyond which nothing is carried over


def completed(known: dict[str, Tensor], template: Tensor, placed: bool = True) -> dict[str, Tensor]:
    """`known` and every other region of the bundled head, [V] bool each.

    Skin (face, scalp, ears, neck ...) comes from the bundled head's nearest vertex, inner parts (teeth, tongue ...)
    are empty unless known.

    Args:
        template: [V, 3] metres, the eyes at `EYES`. placed: False where it lies elsewhere: all unknown ones are empty.
    """
    head = load_open_head()
    inner = inner_parts(head)
    outer = (~inner).nonzero()[:, 0]
    distance, nearest = cKDTree(head.template[outer].numpy()).query(template.numpy())
    source = outer[torch.from_numpy(nearest)]
    skin = torch.from_numpy(distance) < _FAR
    for name in ("left_eye", "right_eye", "mouth_interior", "teeth", "tongue", "eye_sockets"):
        if name in known:
            skin &= ~known[name]
    regions = dict(known)
    for name, mask in head.regions.items():
        if name not in known:
            carried = placed and bool((mask & ~inner).any())
            regions[name] = mask[source] & skin if carried else torch.zeros(len(template), dtype=torch.bool)
    return regions
