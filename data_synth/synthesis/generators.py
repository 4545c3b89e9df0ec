"""Generators of identities, interchangeable: a number in, a training sample out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from gen3dface.data_synth.sample import TrainingSample
from gen3dface.data_synth.synthesis.config import SynthConfig

logger = logging.getLogger(__name__)

MakeIdentity = Callable[[int], TrainingSample]
"""An identity's sample from its seed alone, the same wherever and beside whatever it is made.

Raises a `Gen3DFaceError` where the seed gives no usable photo; the identity is then left out.
"""


def open_generator(config: SynthConfig, device: str = "cpu") -> MakeIdentity:
    """The generator that a configuration asks for, its weights and data read.

    Args:
        device: where networks run; what is drawn is drawn on the CPU.

    Raises:
        CheckpointError, AssetError, MissingExtraError: what it needs is not there.
    """
    if config.generator.kind == "rendered":
        return _rendered(config)
    choice = config.generator
    assert choice.path is not None  # `load_synth_config` has seen to it
    if choice.kind == "folder":
        from gen3dface.data_synth.synthesis.captures import Captures

        return Captures(Path(choice.path), config.size, choice.licence)
    from gen3dface.data_synth.panohead.samples import HeadSampler, Sampling

    sampling = Sampling(config.views, config.size, choice.psi, choice.yaw, config.depth, choice.bfloat16)
    return HeadSampler.open(Path(choice.path), sampling, device, choice.kind)


def _rendered(config: SynthConfig) -> MakeIdentity:
    from gen3dface.data_synth.rendered.people.skin_library import load_skins
    from gen3dface.data_synth.rendered.samples import make_sample

    skins = load_skins()
    return lambda seed: make_sample(seed, config.views, config.size, skins, config.generator.yaw, config.depth)
