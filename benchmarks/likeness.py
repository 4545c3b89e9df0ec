"""Does the head look like the photo? Runs the command on every example photo and prints one table.

    python benchmarks/likeness.py -o out/likeness

Columns: median landmark reprojection over the inter-ocular distance; SFace cosine between the photo and the frontal
view (azimuth 0); seconds from photo to GLB (without the turntable) and peak memory, each photo in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from gen3dface.evaluation import IdentityEmbedder, cosine
from gen3dface.examples import EXAMPLES, example_photo

NOT_GLB = {"turntable", "files"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/likeness"))
    parser.add_argument("--only", nargs="*", default=list(EXAMPLES), choices=list(EXAMPLES))
    arguments = parser.parse_args()
    embed = IdentityEmbedder()
    rows = [measure(name, arguments.out, embed) for name in arguments.only]
    (arguments.out / "likeness.json").write_text(json.dumps(rows, indent=1))
    report(rows)


def measure(name: str, out: Path, embed: IdentityEmbedder) -> dict[str, object]:
    """One photo through the command, then scored."""
    photo = example_photo(name)
    command = [sys.executable, "-m", "gen3dface", "head", str(photo), "-o", str(out), "--resume"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        return {"photo": name, "error": done.stderr.strip().splitlines()[-1]}
    folder = out / photo.stem
    facts = json.loads((folder / "report.json").read_text())
    same = cosine(embed(_pixels(photo)), embed(_pixels(folder / "views" / "000.png")))
    return {
        "photo": name,
        "landmarks": facts["head"]["landmark_residual"],
        "identity": same,
        "seconds": sum(v for k, v in facts["seconds"].items() if k not in {*NOT_GLB, "total"}),
        "MiB": facts["peak_memory_mib"]["process"],
    }


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def report(rows: list[dict[str, object]]) -> None:
    """A Markdown table with its means."""
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}\n")
    print("| photo | landmarks, % of IOD | identity | seconds | MiB |\n|---|---|---|---|---|")
    for r in rows:
        if "error" in r:
            print(f"| {r['photo']} | failed: {r['error']} | | | |")
        else:
            print(f"| {r['photo']} | {r['landmarks']:.2%} | {r['identity']:.3f} | {r['seconds']:.1f} | {r['MiB']} |")
    good = [r for r in rows if "error" not in r]
    columns = {k: [float(r[k]) for r in good] for k in ("landmarks", "identity", "seconds", "MiB")}
    means = {k: sum(v) / len(v) for k, v in columns.items()}
    worst = {k: (min if k == "identity" else max)(v) for k, v in columns.items()}
    for label, r in (("mean", means), ("worst", worst)):
        print(f"| **{label}** | {r['landmarks']:.2%} | {r['identity']:.3f} | {r['seconds']:.1f} | {r['MiB']:.0f} |")


if __name__ == "__main__":
    main()
