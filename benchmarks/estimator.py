"""How near the default estimator comes to the true shape of heads that its own model cannot represent exactly.

    python benchmarks/estimator.py ICT_FACEKIT_LIGHT.npz [--heads 216] [--wide] [--portraits FOLDER] [--json OUT.json]
    (or name the file in $GEN3DFACE_ICT_HEADS)

The prior of the estimator was learned from fits to ICT-FaceKit Light's heads too: other heads (seeds from 100,000 on),
in OpenHead's own topology. So this measures held-out people of a population that the estimator knows, not a held-out
population, and the gain is stated both against OpenHead's mean head and against the mean head of that population:
what beats the latter was read from the picture.

Random ICT-FaceKit Light heads (another topology than OpenHead's) are drawn with the skins of the OpenPeople
portraits P008-P010, random light, distance 0.5-2.5 m and yaw to 35 degrees (`--wide`: 60), and go from pixels through
the whole estimator; each head once in every yaw bin (`--heads` counts pictures). Errors are in millimetres, median /
mean over all points of all heads of a bin:

- vertex: distance between corresponding points of the face (see correspondence.py) after rigid alignment, and after
  similarity alignment, since a single photo does not tell a head's size;
- NoW: the NoW challenge's scan-to-mesh distance (gen3dface.evaluation.shape.now), non-metrical and metrical.

In brackets: how much lower the mean is than OpenHead's mean head's, and than the learned population's mean head's.
Rows "own prior": OpenHead's unit normal prior instead of the learned one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from correspondence import Correspondence, outer_faces, register
from direct_fit import DirectFit
from ict_heads import FACE, load_ict
from ict_pictures import SIZE, Sitter, draw_sitter, face_networks, openpeople_skins
from numpy.typing import NDArray
from tqdm import tqdm

from gen3dface.errors import NoFaceError
from gen3dface.estimators.default import fit_portrait, regressed_prior
from gen3dface.estimators.landmark_model import LandmarkModel
from gen3dface.estimators.priors import ShapePrior
from gen3dface.estimators.regression import bundled_regressor
from gen3dface.evaluation.shape.alignment import align
from gen3dface.evaluation.shape.now import crop, scan_to_mesh
from gen3dface.heads import HeadModel, load_head_model
from gen3dface.photo.portrait import PhotoModels, Portrait, load_portrait

Array = NDArray[np.float64]
NARROW = ((0, 12), (12, 24), (24, 35))
WIDE = ((0, 20), (20, 40), (40, 60))
SKINS = ("P008", "P009", "P010")  # for tests only: nothing here was trained on them
MEASURES = ("vertex, rigid", "vertex, similarity", "NoW, non-metrical", "NoW, metrical")
MEAN, POPULATION = "OpenHead mean", "learned population's mean"
LANDMARKS, READ = "read from landmarks", "read from landmarks and pixels"
NOW_STEP = 3  # every third scan point counts
CAVEAT = (
    "The estimator's prior was learned from fits to other heads of the same population (ICT-FaceKit Light, other "
    "seeds): held-out people, not a held-out population."
)


@dataclass(frozen=True)
class Bench:
    """Both models and what ties them together."""

    ict: HeadModel
    model: HeadModel
    pairs: Correspondence
    landmarks: LandmarkModel
    direct: DirectFit
    population: ShapePrior

    def vertices(self, identity: Array) -> Array:
        """[V, 3] of OpenHead."""
        basis = self.model.identity_basis.numpy().astype(np.float64)
        return self.model.template.numpy() + np.tensordot(identity, basis, 1)

    def mesh_landmarks(self, vertices: Array) -> Array:
        corners = self.model.faces.numpy()[self.model.landmark_faces.numpy()]
        return (vertices[corners] * self.model.landmark_barycentric.numpy()[..., None]).sum(1)


def main() -> None:
    arguments = _arguments()
    bench = prepare(arguments.ict)
    skins = openpeople_skins(bench.ict, SKINS)
    errors: dict[str, dict[str, dict[str, list[Array]]]] = {}
    bins = WIDE if arguments.wide else NARROW
    missed, networks = 0, face_networks()
    known, standing = -1, {}
    for number in tqdm(range(arguments.heads), unit="picture"):
        span = bins[number % len(bins)]
        name = f"{span[0]}-{span[1]}"
        # the same people in every bin, or a bin's gain would depend on whose size it happened to draw
        person = arguments.first_seed + number // len(bins)
        sitter = draw_sitter(bench.ict, skins, span, person, arguments.expression)
        try:
            portrait = cached_portrait(sitter, arguments.portraits, f"{person}-{name}-{arguments.expression}", networks)
        except NoFaceError:
            missed += 1
            continue
        if person != known:
            known, standing = person, measure_person(bench, sitter, arguments.quick)
        for row, measured in {**standing, **measure(bench, sitter, portrait, arguments.quick)}.items():
            for measure_name, values in measured.items():
                errors.setdefault(row, {}).setdefault(measure_name, {}).setdefault(name, []).append(values)
    summary = {row: {m: _summarise(bins) for m, bins in by.items()} for row, by in errors.items()}
    report = {"setting": _setting(arguments, bench, missed), "errors": summary}
    sys.stdout.write(markdown(report))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1))


def cached_portrait(sitter: Sitter, folder: Path | None, name: str, networks: PhotoModels) -> Portrait:
    """What the networks say of a picture; kept in `folder`, so that a changed estimator is soon measured again."""
    if folder is None:
        return load_portrait(sitter.image, models=networks)
    path = folder / f"{name}.safetensors"
    if path.exists():
        return Portrait.load(path)
    folder.mkdir(parents=True, exist_ok=True)
    portrait = load_portrait(sitter.image, models=networks)
    portrait.save(path)
    return portrait


def measure(bench: Bench, sitter: Sitter, portrait: Portrait, quick: bool = False) -> dict[str, dict[str, Array]]:
    """The errors (mm) of one picture by row and measure; `quick`: see the command's help."""
    landmarks = bundled_regressor().predict(portrait.landmarks, portrait.blendshapes) or bench.population
    read = regressed_prior(portrait, bench.model)
    own = ShapePrior.standard(bench.model.identity_size)

    def fit(prior: ShapePrior) -> Array:
        return fit_portrait(portrait, bench.model, bench.landmarks, prior).state.identity

    identities = {LANDMARKS: landmarks.mean, READ: read.mean, "estimator": fit(read)}
    if not quick:
        alone = {"landmark fit, own prior": fit(own), "landmark fit, learned prior": fit(bench.population)}
        identities = {**alone, **identities}
    return {name: _errors_of(bench, sitter, bench.vertices(z), quick) for name, z in identities.items()}


def measure_person(bench: Bench, sitter: Sitter, quick: bool = False) -> dict[str, dict[str, Array]]:
    """The errors of the rows that do not look at the picture."""
    identities = {
        MEAN: np.zeros(bench.model.identity_size),
        POPULATION: bench.population.mean,
        "best of OpenHead (3D fit)": bench.direct(sitter.vertices),
    }
    rows = {name: _errors_of(bench, sitter, bench.vertices(z), quick) for name, z in identities.items()}
    truth, mean = _face(bench, sitter.vertices), _face(bench, bench.ict.template.numpy().astype(np.float64))
    rows["ICT mean"] = {m: _aligned(mean, truth, m == MEASURES[1]) for m in MEASURES[:2]}
    return rows


def aligned_errors(bench: Bench, sitter: Sitter, vertices: Array) -> tuple[Array, Array]:
    """Distances (mm) of corresponding points after rigid and similarity alignment; vertices [V, 3] of OpenHead."""
    estimated, truth = bench.pairs.gather(vertices, bench.model.faces.numpy()), _face(bench, sitter.vertices)
    return _aligned(estimated, truth, False), _aligned(estimated, truth, True)


def _errors_of(bench: Bench, sitter: Sitter, vertices: Array, quick: bool) -> dict[str, Array]:
    apart = dict(zip(MEASURES, aligned_errors(bench, sitter, vertices), strict=False))
    if quick:
        return apart
    faces, truth = bench.model.faces.numpy(), _face(bench, sitter.vertices)
    scan = truth[crop(truth, sitter.landmarks)][::NOW_STEP]
    skin, landmarks = faces[outer_faces(bench.model)], bench.mesh_landmarks(vertices)

    def now(metrical: bool) -> Array:
        return 1000 * scan_to_mesh(scan, sitter.landmarks, vertices, skin, landmarks, metrical)

    return {**apart, MEASURES[2]: now(False), MEASURES[3]: now(True)}


def _aligned(points: Array, truth: Array, with_scale: bool) -> Array:
    return 1000 * np.linalg.norm(align(points, truth, with_scale)(points) - truth, axis=-1)


def _face(bench: Bench, vertices: Array) -> Array:
    return vertices[bench.pairs.vertices]


def prepare(path: Path) -> Bench:
    ict, model = load_ict(path), load_head_model()
    pairs = register(ict, model, np.arange(*FACE))
    landmarks = LandmarkModel.from_head(model)
    return Bench(ict, model, pairs, landmarks, DirectFit(model, pairs), bundled_regressor().population())


def _summarise(bins: dict[str, list[Array]]) -> dict[str, dict[str, float]]:
    pooled = {name: np.concatenate(values) for name, values in bins.items()}
    return {name: {"median": float(np.median(v)), "mean": float(v.mean())} for name, v in pooled.items()}


def markdown(report: dict) -> str:
    """The tables, one a measure."""
    setting, errors = report["setting"], report["errors"]
    lines = [", ".join(f"{key} {value}" for key, value in setting.items()), "", CAVEAT, ""]
    for measure_name in errors[MEAN]:
        bins = list(errors[MEAN][measure_name])
        lines += [f"| {measure_name} | " + " | ".join(f"yaw {b}" for b in bins) + " |", "|---" * (len(bins) + 1) + "|"]
        for row, by_measure in errors.items():
            if measure_name in by_measure:
                cells = [_cell(errors, by_measure[measure_name][b], measure_name, b) for b in bins]
                lines.append(f"| {row} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines) + "\n"


def _cell(errors: dict, reached: dict, measure_name: str, span: str) -> str:
    """Median / mean, and the mean's gain over both mean heads."""
    gains = [1 - reached["mean"] / errors[row][measure_name][span]["mean"] for row in (MEAN, POPULATION)]
    return f"{reached['median']:.2f} / {reached['mean']:.2f} ({100 * gains[0]:+.0f} %, {100 * gains[1]:+.0f} %)"


def _setting(arguments: argparse.Namespace, bench: Bench, missed: int) -> dict[str, object]:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False)
    return {
        "heads": arguments.heads,
        "faces not found": missed,
        "first seed": arguments.first_seed,
        "expression": arguments.expression,
        "picture": f"{SIZE} px",
        "compared points": len(bench.pairs.vertices),
        "registration gap (mm)": round(bench.pairs.gap * 1000, 2),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "Python": platform.python_version(),
        "commit": commit.stdout.strip() or "unknown",
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ict", type=Path, nargs="?", default=os.environ.get("GEN3DFACE_ICT_HEADS"))
    parser.add_argument("--heads", type=int, default=216)
    parser.add_argument("--wide", action="store_true", help=f"yaw bins {WIDE} instead of {NARROW}")
    parser.add_argument("--quick", action="store_true", help="leave out the NoW errors and the landmark fits alone")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--expression", type=float, default=0.0, help="largest weight of the sitters' expressions")
    parser.add_argument("--portraits", type=Path, help="folder in which the pictures' landmarks are kept")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.ict is None or not Path(arguments.ict).is_file():
        parser.error(
            f"the ICT heads ({arguments.ict or 'no file named'}) are not there: give the path of "
            "ict_facekit_light.npz, made from ICT-FaceKit Light, or set $GEN3DFACE_ICT_HEADS"
        )
    arguments.ict = Path(arguments.ict)
    return arguments


if __name__ == "__main__":
    main()
