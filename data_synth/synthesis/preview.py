"""A picture of what is being made, for those who would rather look than read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from gen3dface.data_synth.sample import TrainingSample

PREVIEWED, _VIEWS = 6, 8


def contact_sheet(samples: Sequence[TrainingSample]) -> Image.Image:
    """A row an identity: the photo, then views from all around."""
    rows = []
    for sample in samples[:PREVIEWED]:
        side = sample.cameras.height
        photo = ImageOps.fit(Image.fromarray(sample.portrait.image), (side, side))
        chosen = np.linspace(0, len(sample.views), _VIEWS, endpoint=False).astype(int)
        views = sample.views[chosen, :3].permute(0, 2, 3, 1).numpy()
        rows.append(np.concatenate([np.asarray(photo), *views], 1))
    return Image.fromarray(np.concatenate(rows))
