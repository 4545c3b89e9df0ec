"""Every error that the library raises on purpose: one base class, one class a cause."""


class Gen3DFaceError(Exception):
    """Base class. The message says what was wrong, where, and what to do."""


class ImageDecodeError(Gen3DFaceError):
    """The bytes are no image that can be read, or one too large to be read safely."""


class NoFaceError(Gen3DFaceError):
    """No face was found in the image."""


class FaceTooSmallError(Gen3DFaceError):
    """The chosen face has too few pixels."""


class FaceChoiceError(Gen3DFaceError):
    """The face that was asked for is not among those found."""


class PortraitError(Gen3DFaceError):
    """A saved portrait is damaged, or the file is something else."""


class AssetError(Gen3DFaceError):
    """An asset is unknown, cannot be downloaded, or is not the file it should be."""


class HeadModelError(Gen3DFaceError):
    """A head model's file is missing, damaged or of the wrong kind."""


class HeadError(Gen3DFaceError):
    """A head has vertices that are not numbers, is of another scale, or lies elsewhere."""


class CheckpointError(Gen3DFaceError):
    """A checkpoint is missing, damaged, unsafe or of the wrong shape."""


class ConfigError(Gen3DFaceError):
    """A configuration holds an unknown name or a value out of range."""


class CameraError(Gen3DFaceError):
    """Cameras are malformed, or a rig's name is unknown."""


class EstimationError(Gen3DFaceError):
    """The head could not be estimated from the landmarks."""


class TexturedHeadError(Gen3DFaceError):
    """A textured head's arrays do not fit together, or its file is damaged."""


class DataError(Gen3DFaceError):
    """Training data is missing, damaged, or other than its manifest says."""


class TrainingError(Gen3DFaceError):
    """A training run cannot go on."""


class ReconstructionError(Gen3DFaceError):
    """Views do not make a surface: nothing is seen in them, or they do not belong to their cameras."""


class OutputError(Gen3DFaceError):
    """A result cannot be written."""


class MissingExtraError(Gen3DFaceError, ImportError):
    """An optional dependency is needed and not installed."""
