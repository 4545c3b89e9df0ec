"""Does pruning find what was planted? Rendered people, some with a second face behind, some with another's views.

    python benchmarks/pruning.py [--identities 40] [--size 128] [--clip FOLDER]

Of each of N people there are three: as they are; with views from in front where those from behind should be; with every
other view of somebody else. Thresholds are those that 5 % of the sound people of one half fail; the other half is
judged by them.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gen3dface.data_synth.prune.janus import ClipJudge, DetectorJudge
from gen3dface.data_synth.prune.scoring import BEHIND, Scorer
from gen3dface.data_synth.rendered.samples import make_sample
from gen3dface.data_synth.sample import TrainingSample

FIRST_SEED = 700_000_000
ALARMS = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=40)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--clip", type=Path)
    arguments = parser.parse_args()
    scorer = Scorer(ClipJudge(arguments.clip) if arguments.clip else DetectorJudge())
    seeds = range(FIRST_SEED, FIRST_SEED + arguments.identities)
    people = [make_sample(seed, "head360", arguments.size) for seed in tqdm(seeds, "rendering")]
    sound, janus, mixed = [], [], []
    for person, other in zip(tqdm(people, "scoring"), people[1:] + people[:1], strict=True):
        sound.append(scorer(person))
        janus.append(scorer(with_a_face_behind(person)).janus)
        mixed.append(scorer(with_views_of(other, person)).identity)
    backs, persons = np.array([s.janus for s in sound]), np.array([s.identity for s in sound])
    _tell("a face behind", -backs, -np.array(janus))
    _tell("two people", persons, np.array(mixed))


def with_a_face_behind(sample: TrainingSample) -> TrainingSample:
    """The views from in front once more, behind."""
    turned = ((sample.cameras.azimuths + 180) % 360 - 180).abs()
    views = sample.views.clone()
    for row in (turned >= BEHIND).nonzero()[:, 0].tolist():
        views[row] = sample.views[int((turned - (180 - turned[row])).abs().argmin())]
    return replace(sample, views=views)


def with_views_of(other: TrainingSample, sample: TrainingSample) -> TrainingSample:
    """Every other view somebody else's."""
    views = sample.views.clone()
    views[1::2] = other.views[1::2]
    return replace(sample, views=views)


def _tell(name: str, sound: np.ndarray, planted: np.ndarray) -> None:
    """Scores of which the lower are worse."""
    threshold = np.quantile(sound[::2], ALARMS)
    found, alarms = (planted[1::2] < threshold).mean(), (sound[1::2] < threshold).mean()
    sys.stdout.write(
        f"{name}: threshold {abs(threshold):.3f}; found {found:.0%} of {len(planted[1::2])}, "
        f"false alarms {alarms:.0%}; "
        f"sound {np.median(np.abs(sound)):.3f}, planted {np.median(np.abs(planted)):.3f} (medians)\n"
    )


if __name__ == "__main__":
    main()
