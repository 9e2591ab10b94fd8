"""Lyra v2 (google/lyra 1.3.2), its three TFLite networks run by ``ai-edge-litert``.

The chain of the C++ sources: 16-bit samples at 16 kHz in frames of 320, encoder network to 64
features, residual quantiser with 16 codes (4 bits) a stage, packets of 8, 15 or 23 bytes without a
header; back through the quantiser and the decoder network. Both networks keep state from frame to
frame inside their interpreter, so every clip gets new ones. Neither discontinuous transmission nor
concealment is used.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from .base import Absent, Coded, Signal, Spec, System, to_pcm16, to_rate, work_folder

__all__ = ["Lyra"]

RATE = 16_000
FRAME = 320
STAGES = {3.2: 16, 6.0: 30, 9.2: 46}  # 4 bits each, every 20 ms
MAX_STAGES = 46
FILES = ("soundstream_encoder.tflite", "quantizer.tflite", "lyragan.tflite")


class Lyra(System):
    """``lyra:6``: Lyra v2 at 3.2, 6 or 9.2 kbps; ``models`` is the folder of its networks."""

    title = "Lyra v2, 16 kHz"

    def __init__(self, spec: Spec, models: Path | None) -> None:
        super().__init__(spec)
        spec.reject_options()
        self.stages = STAGES[spec.kbps_of(tuple(STAGES))]
        if models is None:
            raise Absent("no folder of Lyra's models was given (--lyra-models DIR)")
        self._files = [models / name for name in FILES]
        lost = [file.name for file in self._files if not file.is_file()]
        if lost:
            raise Absent(f"no {lost[0]} in {models}")
        if importlib.util.find_spec("ai_edge_litert") is None:
            raise Absent("ai-edge-litert is not installed (pip install ai-edge-litert)")

        data = b"".join(file.read_bytes() for file in self._files)
        self._sha256 = hashlib.sha256(data).hexdigest()

    @property
    def identity(self) -> dict[str, str]:
        version = importlib.metadata.version("ai-edge-litert")
        return {"models_sha256": self._sha256, "ai-edge-litert": version}

    def code(self, wav: Signal) -> Coded:
        x = to_pcm16(to_rate(wav, RATE))
        x = np.pad(x, (0, -len(x) % FRAME)).astype(np.float32) / np.float32(32768)
        with work_folder() as folder:
            file = folder / "clip.lyra"
            file.write_bytes(b"".join(self._encode(x)))
            data = file.read_bytes()
        y = to_pcm16(self._decode(data)).astype(np.float32) / np.float32(32768)
        return Coded(y, RATE, len(data), len(data))

    def _encode(self, x: Signal) -> list[bytes]:
        encoder, quantizer = _Network(self._files[0]), _interpreter(self._files[1])
        quantize = quantizer.get_signature_runner("encode")
        packets = []
        for frame in x.reshape(-1, FRAME):
            features = encoder(frame[None])
            result = quantize(input_frames=features, num_quantizers=np.int32(self.stages))
            codes = np.asarray(next(iter(result.values()))).ravel()[: self.stages].astype(np.uint8)
            packets.append((codes[0::2] << 4 | codes[1::2]).tobytes())
        return packets

    def _decode(self, data: bytes) -> Signal:
        decoder, quantizer = _Network(self._files[2]), _interpreter(self._files[1])
        dequantize = quantizer.get_signature_runner("decode")
        frames = []
        for packet in np.frombuffer(data, np.uint8).reshape(-1, self.stages // 2):
            codes = np.full(MAX_STAGES, -1, np.int32)
            codes[0 : self.stages : 2], codes[1 : self.stages : 2] = packet >> 4, packet & 15
            result = dequantize(encoding_indices=codes.reshape(MAX_STAGES, 1, 1))
            frames.append(decoder(next(iter(result.values()))).ravel())
        return np.concatenate(frames) if frames else np.zeros(0, np.float32)


class _Network:
    """A network with one input and one output, and state."""

    def __init__(self, path: Path) -> None:
        self._it = _interpreter(path)
        self._it.allocate_tensors()
        self._input = self._it.get_input_details()[0]["index"]
        self._output = self._it.get_output_details()[0]["index"]

    def __call__(self, x: Any) -> Any:
        self._it.set_tensor(self._input, np.ascontiguousarray(x, np.float32))
        self._it.invoke()
        return self._it.get_tensor(self._output)


def _interpreter(path: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter  # pyright: ignore[reportMissingImports]

    return Interpreter(model_path=str(path), num_threads=1)
