"""Trained models that come with the package, each the folder of a saved pipeline, with its card."""
