"""Do the files of a gallery hold what they promise? Each head.glb through Khronos' validator and a real browser.

    python benchmarks/gallery_files.py out/likeness/projection [--sheet files.png]

after `benchmarks/likeness.py -o out/likeness`. Needs node and Chromium. Columns: errors and warnings of gltf-validator;
how much more the texture changes across its seams than inside its charts; overlap and correlation of what three.js
paints in Chromium with this package's own renderer, both cut to the head; and where the picture changes when the jaw
opens (height within the head: 0 its top, 1 its lower edge) and when the subject's left eye closes (0 the picture's
left, 1 its right; height).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from gen3dface.assets import fetch
from gen3dface.cameras import rig
from gen3dface.evaluation.seams import seam_ratio
from gen3dface.photo.landmarks import BLENDSHAPE_NAMES
from gen3dface.recon import TexturedHead, render_head

SCRIPT = Path(__file__).parents[1] / "tests" / "tools" / "validate_gltf.mjs"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --use-angle=swiftshader --enable-unsafe-swiftshader "
    "--hide-scrollbars --window-size=900,700 --virtual-time-budget=4000"
)
STAGE = np.s_[80:500, 30:520]  # the part of the page that shows the head alone
SIDE = 128
_CHANGED = 24  # of 255
_ATTEMPTS = 3  # a busy machine's browser may end before it has painted


@dataclass(frozen=True)
class Figures:
    """Of one file."""

    errors: int
    warnings: int
    seams: float
    overlap: float
    likeness: float
    jaw: float
    eye: tuple[float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    files = sorted(arguments.folder.glob("*/head.glb"))
    print("| head | errors | warnings | seams | overlap | likeness | jaw | left eye |\n" + "|---" * 8 + "|")
    pictures = []
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fetch("gltf_validator", progress=False)) as packed:
            packed.extractall(folder, filter="data")
        for file in tqdm(files):
            found, picture = examine(file, Path(folder))
            pictures.append(picture)
            print(
                f"| {file.parent.name} | {found.errors} | {found.warnings} | {found.seams:.2f} | {found.overlap:.3f} "
                f"| {found.likeness:.3f} | {found.jaw:.2f} | {found.eye[0]:.2f}, {found.eye[1]:.2f} |",
                flush=True,
            )
    if arguments.sheet:
        Image.fromarray(np.concatenate(pictures)).save(arguments.sheet)


def examine(file: Path, tools: Path) -> tuple[Figures, NDArray[np.uint8]]:
    """One file's figures, and what the browser and the renderer show of it."""
    command = ["node", str(SCRIPT), str(tools / "package" / "index.js"), str(file)]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    head = read_glb(file)
    rest, jaw, eye = (photographed(file.parent / "index.html", s, tools) for s in ("", "jawOpen=1", "eyeBlinkLeft=1"))
    ours = (render_head(head, rig("head360", 512)[0])[0].permute(1, 2, 0).numpy() * 255).astype(int)
    painted, drawn = _cut(rest), _cut(ours)
    both, either = (painted[1] & drawn[1]).sum(), (painted[1] | drawn[1]).sum()
    alike = np.corrcoef(*(p[0].mean(-1)[painted[1] & drawn[1]] for p in (painted, drawn)))[0, 1]
    found = Figures(
        report["issues"]["numErrors"],
        report["issues"]["numWarnings"],
        seam_ratio(head),
        float(both / either),
        float(alike),
        _changed(rest, jaw)[1],
        _changed(rest, eye),
    )
    return found, np.concatenate([painted[0], drawn[0], _cut(jaw)[0], _cut(eye)[0]], 1).astype(np.uint8)


def read_glb(file: Path) -> TexturedHead:
    """A head as trimesh reads it: at rest, each corner of a chart a vertex."""
    parts = list(trimesh.load(file, process=False).geometry.values())
    first = np.cumsum([0, *(len(part.vertices) for part in parts)])
    vertices, uvs = (np.concatenate(a) for a in ([p.vertices for p in parts], [p.visual.uv for p in parts]))
    faces = np.concatenate([part.faces + before for part, before in zip(parts, first, strict=False)])
    texture = np.asarray(parts[0].visual.material.baseColorTexture.convert("RGB"))
    return TexturedHead(vertices, faces, uvs, faces, texture)


def photographed(page: Path, state: str, folder: Path) -> NDArray[np.int64]:
    """[H, W, 3] the stage of a page, its expression at rest but for `state`."""
    target = folder / "shot.png"
    chromium = shutil.which("chromium") or shutil.which("google-chrome") or "chromium"
    target.unlink(missing_ok=True)
    at_rest = "&".join(f"{name}=0" for name in BLENDSHAPE_NAMES if not state.startswith(name))
    address = f"{page.resolve().as_uri()}#blink=0&azimuth=0&{at_rest}&{state}"
    for attempt in range(_ATTEMPTS):
        command = [chromium, *FLAGS.split(), f"--user-data-dir={folder / str(attempt)}", f"--screenshot={target}"]
        subprocess.run([*command, address], capture_output=True, timeout=100, check=True)
        if target.exists():
            break
    with Image.open(target) as image:
        return np.asarray(image.convert("RGB")).astype(int)[STAGE]


def _box(image: NDArray[np.int64]) -> tuple[NDArray[np.bool_], slice, slice]:
    mask = np.abs(image - image[2, 2]).max(-1) > _CHANGED
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return mask, slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _cut(image: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The head alone, SIDE px, and which of its pixels are head."""
    mask, rows, columns = _box(image)
    small = Image.fromarray(image[rows, columns].astype(np.uint8)).resize((SIDE, SIDE))
    return np.asarray(small).astype(int), np.asarray(Image.fromarray(mask[rows, columns]).resize((SIDE, SIDE)))


def _changed(before: NDArray[np.int64], after: NDArray[np.int64]) -> tuple[float, float]:
    """Where a picture changes, within the head: (across, down), 0..1."""
    _, rows, columns = _box(before)
    y, x = np.nonzero(np.abs(after - before).max(-1) > _CHANGED)
    across = (np.median(x) - columns.start) / (columns.stop - columns.start)
    return float(across), float((np.median(y) - rows.start) / (rows.stop - rows.start))


if __name__ == "__main__":
    main()
