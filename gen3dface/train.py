"""Train the multi-view diffusion model: `python -m gen3dface.train --config mini -o DIR`.

With several processes or machines: `accelerate launch -m gen3dface.train --config ...`, by accelerate's own
configuration. The same command again goes on where the run stopped.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from gen3dface.errors import Gen3DFaceError


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when all went well."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is first loaded
    parsed = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    try:
        from gen3dface.config_files import parse_overrides
        from gen3dface.training.config import load_train_config
        from gen3dface.training.trainer import Trainer

        config = load_train_config(parsed.config, parse_overrides(parsed.set))
        progress = Trainer(config, parsed.out).fit()
        logging.info("%d of %d steps are done; the run is in %s", progress.step, config.iterations, parsed.out)
    except Gen3DFaceError as error:
        logging.error("%s", error)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gen3dface.train", description=__doc__)
    parser.add_argument("--config", required=True, help="name (mini, sd15) or YAML file")
    parser.add_argument("-o", "--out", required=True, help="folder of the run; an unfinished run there is gone on with")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="replace a value, such as data.cache=/scratch"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
