"""Training samples from rendered people: a photo, what the estimator says of it, and true views."""

from gen3dface.data_synth.rendered.samples.make import make_sample
from gen3dface.data_synth.rendered.samples.pool import make_samples

__all__ = ["make_sample", "make_samples"]
