"""turntable.mp4: the head turns once."""

from __future__ import annotations

from pathlib import Path

import imageio_ffmpeg
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from gen3dface.cameras import Cameras, orbit
from gen3dface.errors import OutputError
from gen3dface.files import write_failure
from gen3dface.recon.preview import render_head
from gen3dface.recon.textured_head import TexturedHead

FRAMES = 48
FRAMES_PER_SECOND = 16
SIZE = 384  # pixels; even, as the video format needs
RENDER_SIZE = 576  # pixels: half as large again and scaled down, for smooth edges
ELEVATION = 5.0  # degrees, slightly from above


def turntable_cameras() -> Cameras:
    """Cameras once round the head, starting in front; a little wider than the rigs, so that the collar fits in."""
    azimuths = torch.arange(FRAMES) * (360 / FRAMES)
    return orbit(azimuths, torch.full((FRAMES,), ELEVATION), radius=1.8, focal=4.1, size=RENDER_SIZE)


def render_turntable(head: TexturedHead) -> Tensor:
    """Pictures [FRAMES, 3, SIZE, SIZE] of the head in its starting expression, in 0..1 over white."""
    large = render_head(head, turntable_cameras(), supersample=1)
    return interpolate(large, (SIZE, SIZE), mode="bilinear", antialias=True)


def write_video(path: Path, frames: NDArray[np.uint8]) -> None:
    """Encode frames uint8 [N, H, W, 3] as H.264, which every browser plays.

    Raises:
        OutputError: the file cannot be written, for instance because the disk is full.
    """
    height, width = frames.shape[1:3]
    writer = imageio_ffmpeg.write_frames(
        str(path),
        (width, height),
        fps=FRAMES_PER_SECOND,
        codec="libx264",
        quality=None,
        output_params=["-crf", "20", "-movflags", "+faststart"],
        macro_block_size=2,
        ffmpeg_log_level="error",
    )
    try:
        writer.send(None)
        for frame in frames:
            writer.send(np.ascontiguousarray(frame))
        writer.close()
        written, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else OSError(0, "the video encoder stopped")
        raise OutputError(write_failure(path, cause)) from error
    if written != len(frames):
        raise OutputError(write_failure(path, OSError(0, f"{written} of {len(frames)} frames were written")))
