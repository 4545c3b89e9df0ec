"""Soft alpha matte and parts of the chosen person (first version)."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from gen3dface.assets import fetch

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter
    from onnxruntime import InferenceSession

SIDE = 512


class PersonMatter:
    def __init__(self, modnet: Path | None = None, multiclass: Path | None = None, threads: int = 2) -> None:
        self._modnet_path, self._multiclass_path, self._threads = modnet, multiclass, threads

    def alpha(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        height, width = image.shape[:2]
        small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        tensor = (small / 127.5 - 1).transpose(2, 0, 1)[None]
        (alpha,) = self._modnet.run(None, {"input": tensor})
        return np.clip(cv2.resize(alpha[0, 0], (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)

    def parts(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        small = cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        network = self._multiclass
        network.set_tensor(network.get_input_details()[0]["index"], small[None])
        network.invoke()
        return network.get_tensor(network.get_output_details()[0]["index"])[0]

    @cached_property
    def _modnet(self) -> InferenceSession:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        path = self._modnet_path or fetch("modnet")
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    @cached_property
    def _multiclass(self) -> Interpreter:
        from ai_edge_litert.interpreter import Interpreter

        path = self._multiclass_path or fetch("selfie_multiclass")
        network = Interpreter(model_path=str(path), num_threads=self._threads)
        network.allocate_tensors()
        return network
