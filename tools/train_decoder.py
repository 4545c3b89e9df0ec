"""Trains the decoder of a model whose latents are pixels, on what the model makes of rendered people's views.

    python tools/train_decoder.py pairs PAIRS --model mini --first-seed 975000 --count 300    # about 8 s a person
    python tools/train_decoder.py train PAIRS --model mini --output OUT    # about 1 s a step and core

PAIRS is a folder with a file a person, resumable. `train` writes the autoencoder with its decoder into OUT, to replace
the model's `vae` folder.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from decoder_training.pairs import load_pairs, make_pairs
from decoder_training.training import train

from gen3dface.models.autoencoder import PixelAutoencoder
from gen3dface.pipelines import Gen3DFacePipeline

WIDTHS = (24, 48, 96)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    make = commands.add_parser("pairs", help="make views from half-noised true ones")
    make.add_argument("pairs", type=Path)
    make.add_argument("--model", default="mini")
    make.add_argument("--first-seed", type=int, default=975_000)
    make.add_argument("--count", type=int, default=300)
    make.set_defaults(run=lambda args: make_pairs(args.model, args.pairs, args.first_seed, args.count))
    learn = commands.add_parser("train", help="train the decoder on them")
    learn.add_argument("pairs", type=Path)
    learn.add_argument("--model", default="mini")
    learn.add_argument("--steps", type=int, default=3000)
    learn.add_argument("--output", type=Path, required=True)
    learn.set_defaults(run=_train)
    args = parser.parse_args()
    args.run(args)


def _train(args: argparse.Namespace) -> None:
    config = dict(Gen3DFacePipeline.from_pretrained(args.model).vae.config)
    known = {name: config[name] for name in ("channels", "factor", "scaling_factor", "straight")}
    vae = PixelAutoencoder(**known, decoder_widths=WIDTHS)
    train(vae, load_pairs(args.pairs), args.steps, args.output)


if __name__ == "__main__":
    main()
