"""Weights of the public peers, by name and shape, and the proof that the modules are the same."""
