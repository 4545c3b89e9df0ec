"""A synthesis killed again and again against one that was left alone: the same bytes?

    python benchmarks/kills.py [--identities 60] [--kills 20] [--workers 1]

Small rendered heads, two a shard. Each run is killed (SIGKILL, with its workers) after a random time, and started again
with the same command; the last one may finish. The exit code is 1 when bytes differ.
Seconds are of the kills' randomness alone, not measured.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

SETTINGS = ("views=head360", "size=32", "per_shard=2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=60)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, nargs=2, default=(3.0, 14.0), help="after which a run is killed")
    arguments = parser.parse_args()
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        broken, whole = Path(name) / "broken", Path(name) / "whole"
        for number in range(arguments.kills):
            with _started(broken, arguments) as run:
                try:
                    run.wait(draw.uniform(*arguments.seconds))
                except subprocess.TimeoutExpired:
                    os.killpg(run.pid, signal.SIGKILL)
            done = len(list(broken.glob("*.note.json"))) if broken.exists() else 0
            sys.stdout.write(f"kill {number + 1}: {done} shards done\n")
            sys.stdout.flush()
        for folder in (broken, whole):
            with _started(folder, arguments) as run:
                assert run.wait() == 0
        first, second = ({p.name: p.read_bytes() for p in f.glob("shard-*")} for f in (broken, whole))
        left = [p.name for p in broken.iterdir() if p.name not in {*first, "synthesis.json", "preview.jpg"}]
        sys.stdout.write(f"{len(second)} files; equal to the last byte: {first == second}; left over: {left}\n")
        sys.exit(0 if first == second else 1)


def _started(folder: Path, arguments: argparse.Namespace) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gen3dface", "synth", "-o", str(folder), f"--identities={arguments.identities}"]
    command += [f"--workers={arguments.workers}", *(f"--set={setting}" for setting in SETTINGS)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


if __name__ == "__main__":
    main()
