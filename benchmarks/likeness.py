"""Does the head look like the photo? Runs the command on the example photos; prints a table, can write the gallery.

    python benchmarks/likeness.py -o out/likeness [--gallery docs] [--only astronaut obama ...] [--engines NAME|DIR ...]

Columns: median landmark reprojection over the inter-ocular distance; SFace cosine between the photo and the frontal
view (azimuth 0; same person from 0.363); seconds from photo to GLB (without turntable and page); CPU seconds of the
whole command, all cores together, which other work on the machine changes less; peak memory. Each photo and engine has
a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from gen3dface.evaluation import IdentityEmbedder, cosine
from gen3dface.examples import EXAMPLES, example_photo

ENGINES = ["projection", "mini"]
AFTER_GLB = {"turntable", "files", "total"}
STRIP_VIEWS = (0, 2, 4, 8, 12, 14)  # front, three-quarter, profile, back, profile, three-quarter
SIDE = 200  # px of a picture in a strip


@dataclass(frozen=True)
class Row:
    """One photo's figures with one engine, or why there are none."""

    photo: str
    engine: str  # its name, without the folders above it
    landmarks: float = float("nan")
    identity: float = float("nan")
    seconds: float = float("nan")
    cpu: float = float("nan")
    mebibytes: float = float("nan")
    error: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/likeness"))
    parser.add_argument("--only", nargs="*", default=list(EXAMPLES), choices=list(EXAMPLES))
    parser.add_argument("--gallery", type=Path, help="folder for gallery.md and its pictures")
    parser.add_argument("--engines", nargs="*", default=ENGINES, help="or folders of pipelines")
    arguments = parser.parse_args()
    if len({Path(engine).name for engine in arguments.engines}) < len(arguments.engines):
        parser.error("two engines have the same name; their heads would lie in one folder")
    embed = IdentityEmbedder()
    jobs = [(name, engine) for name in arguments.only for engine in arguments.engines]
    rows = [measure(name, engine, arguments.out, embed) for name, engine in tqdm(jobs, unit="head")]
    (arguments.out / "likeness.json").write_text(json.dumps([asdict(r) for r in rows], indent=1))
    print(table(rows))
    if arguments.gallery:
        write_gallery(rows, arguments.out, arguments.gallery)


def measure(name: str, engine: str, out: Path, embed: IdentityEmbedder) -> Row:
    """One photo through the command, then scored."""
    photo, label = example_photo(name), Path(engine).name
    out = out / label
    command = [sys.executable, "-m", "gen3dface", "head", str(photo), "--out", str(out), "--resume", "--engine", engine]
    before = _children_seconds()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    cpu = _children_seconds() - before
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        return Row(name, label, error=next((line for line in lines if line.startswith("failed")), lines[-1]))
    folder = out / photo.stem
    facts = json.loads((folder / "report.json").read_text())
    return Row(
        name,
        label,
        landmarks=facts["head"]["landmark_error"],
        identity=cosine(embed(pixels(photo)), embed(pixels(folder / "views" / "000.png"))),
        seconds=sum(v for k, v in facts["seconds"].items() if k not in AFTER_GLB),
        cpu=cpu,
        mebibytes=facts["peak_memory_mib"]["process"],
    )


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def table(rows: list[Row]) -> str:
    """A Markdown table with the means and worst values of each engine."""
    lines = [
        "| photo | engine | landmarks, % of inter-ocular | identity | seconds | CPU seconds | MiB |",
        "|---" * 7 + "|",
    ]
    lines += [f"| {r.photo} | {r.engine} | failed: {r.error} | | | | |" if r.error else _line(r) for r in rows]
    for engine in dict.fromkeys(r.engine for r in rows):
        good = [r for r in rows if r.engine == engine and not r.error]
        if good:
            lines += [_line(_summary("**mean**", good, np.mean, np.mean)), _line(_summary("**worst**", good, max, min))]
    return "\n".join(lines)


def _summary(label: str, rows: list[Row], cost: Callable[..., float], gain: Callable[..., float]) -> Row:
    columns = {k: float(cost([getattr(r, k) for r in rows])) for k in ("landmarks", "seconds", "cpu", "mebibytes")}
    return Row(label, rows[0].engine, identity=float(gain([r.identity for r in rows])), **columns)


def _line(r: Row) -> str:
    figures = f"{100 * r.landmarks:.2f} | {r.identity:.3f} | {r.seconds:.1f} | {r.cpu:.1f} | {r.mebibytes:.0f}"
    return f"| {r.photo} | {r.engine} | {figures} |"


GALLERY = """# Gallery

{shown} of the {total} example photos and what becomes of them: the photo, then the head from the front, three-quarter
left, left profile, back, right profile and three-quarter right; {engines}. Made by one command, nothing touched up;
photos whose licence would bind this page are left out (their figures are in the table):

```
python benchmarks/likeness.py -o out/likeness --gallery docs{option}
```

{strips}

## What goes wrong

- **Hair** is a smooth shell, and a curtain where it hangs below the ears: no single curls, no ponytail
  (`openpeople_04`, `ardern_2018`), nothing that the photo's frame cuts off. Its edge is hard.
- **The back of the head** is made up: drawn by `mini`, or, by `projection`, hair quilted from the front. Necklines are
  guesses.
- **Hair over the cheek** is laid on the skin and stays there when the head turns (`ardern_2022`).
- **Light** is baked into the colours; a side in shadow stays dark (`sunak`).
- **Glasses, hats and hands** have no shape of their own: they are painted on.
- **`mini`** draws 128 px: hair is coarse behind, a faint weave is left in it, ends of long hair fade to white, bands of
  collar colour cross necks, and lines of dots float at some shoulders.

## Figures

{hardware}

{table}
"""


def write_gallery(rows: list[Row], out: Path, folder: Path) -> None:
    """`gallery.md` and one picture for each photo that may be shown."""
    (folder / "gallery").mkdir(parents=True, exist_ok=True)
    engines, strips = list(dict.fromkeys(r.engine for r in rows)), []
    for name in dict.fromkeys(r.photo for r in rows):
        credit = EXAMPLES[name].credit
        if "BY-SA" in credit or any(r.error for r in rows if r.photo == name):
            continue
        strip(example_photo(name), [out / engine for engine in engines]).save(
            folder / "gallery" / f"{name}.jpg", quality=88
        )
        strips.append(f"**{name}** ({credit})\n\n![{name}](gallery/{name}.jpg)\n")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    hardware = f"{os.cpu_count()} CPU cores, no GPU; commit {commit.stdout.strip() or 'unknown'}; the command above."
    text = GALLERY.format(
        shown=len(strips),
        total=len(EXAMPLES),
        option="" if engines == ENGINES else " --engines " + " ".join(engines),
        engines=" above, ".join(engines) + " below" if len(engines) > 1 else engines[0],
        strips="\n".join(strips),
        hardware=hardware,
        table=table(rows),
    )
    (folder / "gallery.md").write_text(text)


def strip(photo: Path, folders: list[Path]) -> Image.Image:
    """The photo, and beside it a row of views for each engine."""
    picture = Image.new("RGB", (SIDE * (len(STRIP_VIEWS) + 1), SIDE * len(folders)), "white")
    with Image.open(photo) as image:
        small = image.convert("RGB")
        small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        picture.paste(small, ((SIDE - small.width) // 2, (picture.height - small.height) // 2))
    for row, folder in enumerate(folders):
        for column, index in enumerate(STRIP_VIEWS, 1):
            with Image.open(folder / photo.stem / "views" / f"{index:03d}.png") as view:
                picture.paste(view.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (SIDE * column, SIDE * row))
    return picture


if __name__ == "__main__":
    main()
