"""Untrusted photos to portraits: decoding, faces, landmarks, matte."""

from gen3dface.photo.decode import DecodedImage, ImageSource, decode_image
from gen3dface.photo.landmarks import BLENDSHAPE_NAMES
from gen3dface.photo.portrait import Portrait, find_faces, load_portrait

__all__ = [
    "BLENDSHAPE_NAMES",
    "DecodedImage",
    "ImageSource",
    "Portrait",
    "decode_image",
    "find_faces",
    "load_portrait",
]
