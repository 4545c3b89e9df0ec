"""From where does a detector see a face? True views of rendered people, whose faces are seen up to about 115 degrees.

    python benchmarks/visible_faces.py [--heads 36] [--first 880000000]

A row an azimuth: the share of views in which an upright face is found with at least the score on top.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict

from tqdm import tqdm

from gen3dface.evaluation.cases import cases_of
from gen3dface.evaluation.faces import enlarged, surest_face
from gen3dface.evaluation.protocol import SetChoice
from gen3dface.photo.detect import UPRIGHT, FaceDetector

SCORES = (0.6, 0.67, 0.7, 0.75, 0.8, 0.85, 0.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=int, default=36)
    parser.add_argument("--first", type=int, default=880_000_000)
    arguments = parser.parse_args()
    detector, found = FaceDetector(turns=UPRIGHT), defaultdict(list)
    choice = SetChoice(kind="rendered", heads=arguments.heads, first=arguments.first)
    for source in tqdm(cases_of(choice, 128)):
        case = source.make()
        assert case.images is not None  # of rendered people
        azimuths = ((case.cameras.azimuths + 180) % 360 - 180).abs().tolist()
        for azimuth, picture in zip(azimuths, enlarged(case.images), strict=True):
            face = surest_face(detector, picture)
            found[round(azimuth, 1)].append(0.0 if face is None else face.score)
    sys.stdout.write("azimuth " + "".join(f"{score:7.2f}" for score in SCORES) + "\n")
    for azimuth, scores in sorted(found.items()):
        shares = (sum(s >= score for s in scores) / len(scores) for score in SCORES)
        sys.stdout.write(f"{azimuth:7.1f} " + "".join(f"{share:7.1%}" for share in shares) + "\n")


if __name__ == "__main__":
    main()
