"""One person in three photos: how near the shape comes that they share, and how well the fit knows its own error.

    python benchmarks/estimator_together.py ICT_FACEKIT_LIGHT.npz [--people 24] [--portraits FOLDER]

The people are those of benchmarks/estimator.py (what it says of them holds here too), each drawn at a yaw of -40..-25,
-8..8 and 25..40 degrees, every time under other light and from another distance. Vertex errors in millimetres, median /
mean, after rigid and after similarity alignment. Below, of each photo fitted alone: the share of true values within one
and two of the standard deviations that the fit states (a Gaussian's: 68 and 95 %). The true pose is the camera's, with
the motion that best lays the estimated face on the true one. The true coefficients are those of a 3D fit to the true
head; only those count that such a fit settles.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from estimator import SKINS, Bench, aligned_errors, cached_portrait, prepare
from ict_pictures import Sitter, draw_photos, face_networks, openpeople_skins
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from gen3dface.errors import NoFaceError
from gen3dface.estimators.default import fit_portrait, regressed_prior
from gen3dface.estimators.landmark_fit import LandmarkFit
from gen3dface.estimators.together import common_prior, fit_portraits
from gen3dface.estimators.uncertainty import uncertainties
from gen3dface.evaluation.shape.alignment import align
from gen3dface.photo.portrait import PhotoModels, Portrait

Array = NDArray[np.float64]
YAWS = ((-40.0, -25.0), (-8.0, 8.0), (25.0, 40.0))
_SETTLED = 0.15  # greatest variance that a 3D fit leaves of a coefficient that counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ict", type=Path)
    parser.add_argument("--people", type=int, default=24)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--skins", nargs="+", default=SKINS)
    parser.add_argument("--portraits", type=Path, help="folder in which the pictures' landmarks are kept")
    arguments = parser.parse_args()
    bench, networks = prepare(arguments.ict), face_networks()
    skins = openpeople_skins(bench.ict, arguments.skins)
    errors: dict[str, list[tuple[Array, Array]]] = {}
    turns, shapes, missed = [], [], 0
    for person in tqdm(range(arguments.first_seed, arguments.first_seed + arguments.people), unit="person"):
        photos = draw_photos(bench.ict, skins, YAWS, person)
        try:
            portraits = _portraits(photos, arguments.portraits, person, networks)
        except NoFaceError:
            missed += 1
            continue
        for row, identity in _identities(bench, portraits).items():
            errors.setdefault(row, []).append(aligned_errors(bench, photos[0], bench.vertices(identity)))
        for photo, portrait in zip(photos, portraits, strict=True):
            turn, shape = _standardised(bench, photo, portrait)
            turns.append(turn)
            shapes.append(shape)
    sys.stdout.write(_report(errors, missed, np.array(turns), np.array(shapes)))


def _portraits(photos: list[Sitter], folder: Path | None, person: int, networks: PhotoModels) -> list[Portrait]:
    return [cached_portrait(photo, folder, f"{person}-photo{n}", networks) for n, photo in enumerate(photos)]


def _identities(bench: Bench, portraits: list[Portrait]) -> dict[str, Array]:
    regressed = [regressed_prior(portrait, bench.model) for portrait in portraits]
    alone = [fit_portrait(p, bench.model, bench.landmarks, r) for p, r in zip(portraits, regressed, strict=True)]
    belief = common_prior(portraits, bench.model)
    together = fit_portraits(portraits, bench.model, bench.landmarks, belief)
    rows = {"learned population's mean": bench.population.mean}
    for span, fit in zip(YAWS, alone, strict=True):
        rows[f"estimator, yaw {span[0]:.0f}..{span[1]:.0f} alone"] = fit.state.identity
    rows["mean of the three estimates"] = np.mean([fit.state.identity for fit in alone], 0)
    rows["read, together"] = belief.mean
    rows["estimator, three photos together"] = together[0].state.identity
    return rows


def _standardised(bench: Bench, photo: Sitter, portrait: Portrait) -> tuple[Array, Array]:
    """Errors of the pose [3] and of the settled coefficients over their stated standard deviations."""
    belief = regressed_prior(portrait, bench.model)
    fit = fit_portrait(portrait, bench.model, bench.landmarks, belief)
    stated = uncertainties([fit], belief)[0]
    settled = np.diag(bench.direct.uncertainty()) < _SETTLED
    shape = (bench.direct(photo.vertices) - fit.state.identity) / stated.identity.numpy()
    return _turn(bench, photo, fit) / stated.rotation.numpy(), shape[settled]


def _turn(bench: Bench, photo: Sitter, fit: LandmarkFit) -> Array:
    """[3] degrees about the camera's axes, from the true pose to the estimated one."""
    estimated = bench.pairs.gather(bench.vertices(fit.state.identity), bench.model.faces.numpy())
    onto = align(estimated, photo.vertices[bench.pairs.vertices]).rotation
    true = photo.camera.rotations[0].numpy().astype(np.float64) @ onto
    return np.degrees(Rotation.from_matrix(fit.state.rotation @ true.T).as_rotvec())


def _report(errors: dict[str, list[tuple[Array, Array]]], missed: int, turns: Array, shapes: Array) -> str:
    count = len(next(iter(errors.values())))
    lines = [f"{count} people, {missed} with a face not found", "", "| | vertex, rigid | vertex, similarity |"]
    lines.append("|---|---|---|")
    for row, by_person in errors.items():
        cells = [np.concatenate([pair[k] for pair in by_person]) for k in range(2)]
        lines.append(f"| {row} | " + " | ".join(f"{np.median(v):.2f} / {v.mean():.2f}" for v in cells) + " |")
    lines += ["", "| within | 1 standard deviation | 2 |", "|---|---|---|"]
    for name, values in (("nod", turns[:, 0]), ("turn", turns[:, 1]), ("roll", turns[:, 2]), ("identity", shapes)):
        lines.append(f"| {name} | " + " | ".join(f"{100 * (np.abs(values) < k).mean():.0f} %" for k in (1, 2)) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
