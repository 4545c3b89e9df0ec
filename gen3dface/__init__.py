"""One photo in, a 3D head out: consistent views from all around and a textured, animatable GLB."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("gen3dface")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0.0.0"

__all__ = ["__version__"]
