"""Delay of a live pipe, `eulerodec encode - -o - | eulerodec decode - -o -`, by the clock.

    python benchmarks/live_pipe.py                                  the bundled clip
    python benchmarks/live_pipe.py talk.wav --block-frames 4 --packet 4
    python benchmarks/live_pipe.py --source "ffmpeg -v error -re -f lavfi -i
        sine=frequency=300:duration=8 -ar 24000 -ac 1 -f wav -"

A file is fed in at the pace of a microphone, in pieces of 10 ms, behind a WAV header that does not
say how much will follow. A --source is a command that writes a live WAV (24 kHz, mono, 16 bit).
Every piece that goes in and every piece that comes out is noted with the time. The delay of a
sample is the time from when it came into being to when it is out of the decoder; a player that
starts after the largest one never runs dry. That output sample n is input sample n is checked by
cross-correlation. Beside it: what `eulerodec info` promises.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np

from eulerodec import Codec, audio
from eulerodec.audio import wav
from eulerodec.codec.streaming import LIVE_BLOCK_FRAMES, LIVE_PACKET_FRAMES
from eulerodec.samples import SAMPLE

RATE = 24_000
PIECE = RATE // 100  # samples
Event = tuple[int, float]  # samples so far, time


def header() -> bytes:
    """Of a live WAV, 24 kHz, mono, 16 bit."""
    sink = io.BytesIO()
    wav.WavWriter(sink, RATE, 1)
    return sink.getvalue()


def paced(samples: np.ndarray) -> Iterator[bytes]:
    """16-bit samples [N] in pieces, each when its last sample has come into being."""
    start = time.monotonic()
    for at in range(0, len(samples), PIECE):
        piece = samples[at : at + PIECE]
        time.sleep(max(0.0, start + (at + len(piece)) / RATE - time.monotonic()))
        yield piece.tobytes()


def from_command(command: str) -> Iterator[bytes]:
    """The samples that a command writes, as they come."""
    with subprocess.Popen(shlex.split(command), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        form = wav.parse_header(cast(BinaryIO, process.stdout), bytearray())
        if form is None or (form.sample_rate, form.n_channels, form.bits) != (RATE, 1, 16):
            process.kill()
            raise SystemExit(f"--source must write WAV of {RATE} Hz, mono, 16 bit; it is {form}")
        while data := process.stdout.read1(2 * PIECE):  # type: ignore[attr-defined]
            yield data


class Pipe:
    """The two processes, ready when made; ``feed`` what there is, ``output`` collects."""

    def __init__(self, encode: Sequence[str], decode: Sequence[str]) -> None:
        command = [sys.executable, "-m", "eulerodec"]
        pipe = subprocess.PIPE
        first = subprocess.Popen([*command, *encode], stdin=pipe, stdout=pipe)
        second = subprocess.Popen([*command, *decode], stdin=first.stdout, stdout=pipe)
        assert first.stdin and first.stdout and second.stdout
        first.stdout.close()
        self.processes, self.sink, self.source = (first, second), first.stdin, second.stdout
        self.output, self.events = bytearray(), list[Event]()
        self.sink.write(header())
        self.sink.flush()
        if len(self.source.read(44)) < 44:  # comes when both have loaded
            raise SystemExit("the pipe gave nothing")

    def run(self, pieces: Iterator[bytes]) -> tuple[bytes, list[Event]]:
        """Feed everything; returns it, with the times."""
        reader = threading.Thread(target=self._collect, args=(self.source,))
        reader.start()
        data, events = bytearray(), list[Event]()
        for piece in pieces:
            data += piece
            events.append((len(data) // 2, time.monotonic()))
            self.sink.write(piece)
            self.sink.flush()
        self.sink.close()
        reader.join()
        self.source.close()
        if any(process.wait() for process in self.processes):
            raise SystemExit("the pipe failed")
        return bytes(data), events

    def _collect(self, source: IO[bytes]) -> None:
        while part := source.read1(1 << 16):  # type: ignore[attr-defined]
            self.output += part
            self.events.append((len(self.output) // 2, time.monotonic()))


def delays(taken: Sequence[Event], given: Sequence[Event]) -> np.ndarray:
    """Seconds from each input sample to the same output sample, [M].

    A piece goes in when its last sample has come into being, the ones before it came earlier.
    Samples given after the end of the input are left out: nothing more was waited for.
    """
    count, last = 0, taken[-1][1]
    born = []
    for total, at in taken:
        born.append(at - (total - 1 - np.arange(count, total)) / RATE)
        count = total
    out = np.full(count, np.nan)
    done = 0
    for total, at in given:
        if at <= last:
            out[done:total] = at
        done = total
    delay = out - np.concatenate(born)
    return delay[np.isfinite(delay)]


def lag(reference: np.ndarray, other: np.ndarray) -> int:
    """Samples that ``other`` is late, by the peak of the cross-correlation."""
    size = len(reference) + len(other)
    spectrum = np.fft.rfft(other, size) * np.fft.rfft(reference, size).conj()
    at = int(np.argmax(np.fft.irfft(spectrum, size)))
    return at if at < len(other) else at - size


def waiting(packet_frames: int, block_frames: int) -> int:
    """Frames that one waits at most: for its block to be full, and that block's last packet."""
    frame = np.arange(1, math.lcm(packet_frames, block_frames) + 1)
    block = -(-frame // block_frames) * block_frames
    packet = -(-block // packet_frames) * packet_frames
    return int((packet - frame).max())


def measure(args: argparse.Namespace) -> dict[str, Any]:
    codec = Codec.from_pretrained(args.weights)
    common = ["-", "-o", "-", "--weights", args.weights]
    pipe = Pipe(
        ["encode", *common, "--bitrate", str(args.bitrate), "--packet", str(args.packet)],
        ["decode", *common, "--block-frames", str(args.block_frames)],
    )
    if args.source:
        pieces = from_command(args.source)
    else:
        x, rate = audio.read(args.file)
        x = audio.resample(x[:1], rate, RATE)[0, : int(args.seconds * RATE)]
        pieces = paced(np.clip(np.rint(x * 32768), -32768, 32767).astype("<i2"))
    data, taken = pipe.run(pieces)
    before, after = (np.frombuffer(bytes(d), "<i2").astype(float) for d in (data, pipe.output))
    delay = 1000 * delays(taken, pipe.events)
    frame_ms = 1000 / codec.model.frame_rate
    promise = {
        "latency_ms": 1000 * codec.model.latency_s,
        "waiting_ms": frame_ms * waiting(args.packet, args.block_frames),
    }
    return {
        "seconds": len(before) / RATE,
        "block_frames": args.block_frames,
        "packet_frames": args.packet,
        "same_length": len(before) == len(after),
        "lag_samples": lag(before, after),
        "delay_ms": {"mean": float(delay.mean()), "largest": float(delay.max())},
        "promised_ms": promise | {"sum": sum(promise.values())},
    }


def table(result: dict[str, Any]) -> str:
    delay, promise = result["delay_ms"], result["promised_ms"]
    return "\n".join(
        [
            f"{result['seconds']:.2f} s, blocks of {result['block_frames']} frames, packets of"
            f" {result['packet_frames']}; output late by {result['lag_samples']} samples",
            f"measured delay   {delay['mean']:6.0f} ms mean, {delay['largest']:6.0f} ms at most",
            f"promised         {promise['sum']:6.0f} ms at most, and the time to compute:"
            f" algorithm {promise['latency_ms']:.0f}, packets and blocks"
            f" {promise['waiting_ms']:.0f}",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?", default=SAMPLE, help="audio; a bundled clip")
    parser.add_argument("--source", metavar="COMMAND", help="writes a live WAV to its output")
    parser.add_argument("--seconds", type=float, default=60, help="of the file, at most")
    parser.add_argument("--bitrate", type=float, default=6, help="kbps")
    parser.add_argument("--block-frames", type=int, default=LIVE_BLOCK_FRAMES)
    parser.add_argument("--packet", type=int, default=LIVE_PACKET_FRAMES, help="frames")
    parser.add_argument("--weights", default="eulerodec-24khz", help="name or directory")
    parser.add_argument("--json", action="store_true", help="numbers as JSON")
    args = parser.parse_args(argv)
    result = measure(args)
    print(json.dumps(result, indent=2) if args.json else table(result))
    return 0 if result["same_length"] and result["lag_samples"] == 0 else 1


if __name__ == "__main__":
    raise SystemExit(main())
