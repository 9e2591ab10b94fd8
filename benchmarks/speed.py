"""Parameters, multiply-adds and speed of EuleroDec beside EnCodec's 24 kHz architecture.

    python benchmarks/speed.py            # pip install -e '.[bench]' for the comparison
    python benchmarks/speed.py --json

EnCodec is built from its published configuration (the default of ``transformers.EncodecConfig``)
with random weights: neither speed nor work depends on their values.

* Multiply-adds (MAC) are counted by ``torch.utils.flop_counter``, which watches the operators that
  run and knows nothing of this model: matrix products, convolutions and attention, at the sizes
  they really have (block weights of complex layers and masked parts of the attention windows count
  in full). oneDNN is off while counting, because its fused LSTM hides EnCodec's products. Sums
  that are no products of matrices are not counted: norms, gates, and FFTs, which are
  below 0.01 GMAC/s here.
* Speed is seconds of audio per second of work, on one thread, the median of several runs. Ours is
  that of packets: with the search, the range coder and all that the codec does. The
  codecs take turns in one process, and a ratio is the median over the turns of the ratio in a turn,
  so that other load on the machine hits both. ``--clock cpu`` counts processor time only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from eulerodec import Codec, Encoded, EuleroDec, ModelConfig
from eulerodec.bitstream import RateControl
from eulerodec.codec.weights import DEFAULT_WEIGHTS, load_codes
from eulerodec.errors import EuleroDecError
from eulerodec.quantize import DEFAULT_BEAM

Step = Callable[[], Any]
Result = dict[str, Any]

PEER = "EnCodec 24 kHz"
NO_PEER = "no comparison: transformers is not installed (pip install -e '.[bench]')"
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def count_macs(step: Step) -> int:
    """Multiply-adds of the matrix products, convolutions and attention that ``step`` runs."""
    counter = FlopCounterMode(display=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # switching oneDNN off speaks of Intel GPUs
        plain = torch.backends.mkldnn.flags(enabled=False)
        # the plain form of attention is made of matrix products; fused kernels may not be counted
        with torch.inference_mode(), plain, sdpa_kernel(SDPBackend.MATH), counter:
            step()
    return counter.get_total_flops() // 2


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def load_codec(weights: str | None, tiny: bool) -> tuple[Codec, str]:
    """The codec to measure and a word on its weights."""
    if tiny:
        model = EuleroDec(ModelConfig.tiny(), load_codes(DEFAULT_WEIGHTS))
        return Codec(model, name="tiny"), "random weights"
    codec = Codec.from_pretrained(weights or DEFAULT_WEIGHTS)
    return codec, f"weights {codec.name}"


def own_macs(codec: Codec, wav: Tensor, kbps: float, beam: int) -> dict[str, int]:
    """MACs of each part for ``wav [1, 1, N]``, coded packet by packet."""
    model, info = codec.model, codec.stream_info(bitrate_kbps=kbps)
    coder, rate = model.coder, RateControl(info)
    with torch.inference_mode():
        spec = model.stft.analysis(wav[:, 0])
        z, bands = model.describe(spec)
    counts = {"encoder": count_macs(lambda: model.describe(spec)), "search": 0, "decoder": 0}
    for start in range(0, z.shape[-1], info.frames_per_packet):
        part = slice(start, start + info.frames_per_packet)
        n_frames = z[..., part].shape[-1]
        room = rate.budget(n_frames)
        payloads: list[bytes] = []

        def search(part: slice = part, room: int = room, to: list[bytes] = payloads) -> None:
            to.append(coder.encode(z[..., part], bands[..., part], room, beam))

        counts["search"] += count_macs(search)
        rate.spend(n_frames, len(payloads[0]))
        coded = coder.decode(payloads[0], 1, n_frames)
        counts["decoder"] += count_macs(lambda coded=coded: model.decoder(coded))
    return counts


def build_peer() -> nn.Module | None:
    """EnCodec at 24 kHz with random weights, or None without transformers."""
    try:
        from transformers import EncodecConfig, EncodecModel
    except ImportError:
        return None
    peer = EncodecModel(EncodecConfig()).eval()
    for module in peer.modules():  # plain weights, as a deployed model would have
        if nn.utils.parametrize.is_parametrized(module, "weight"):
            nn.utils.parametrize.remove_parametrizations(module, "weight")
    return peer


def peer_steps(peer: Any, wav: Tensor, kbps: int) -> tuple[Step, Step]:
    """(encode, decode) of EnCodec for ``wav [1, 1, N]``."""

    def encode() -> Any:
        return peer.encode(wav, bandwidth=float(kbps))

    with torch.inference_mode():
        made = encode()
    return encode, lambda: peer.decode(made.audio_codes, made.audio_scales)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def take_turns(steps: dict[str, Step], runs: int, clock: Callable[[], float]) -> dict[str, Any]:
    """Seconds of each run of each step; the steps alternate. One run before is not counted."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    with one_thread(), torch.inference_mode():
        for turn in range(runs + 1):
            for name, step in steps.items():
                start = clock()
                step()
                elapsed = max(clock() - start, 1e-9)
                if turn:
                    times[name].append(elapsed)
    return times


def measure(
    codec: Codec, *, seconds: float, runs: int, kbps: int, clock: str = "wall", peer: Any = None
) -> Result:
    """All numbers; ``peer`` is EnCodec, or None to measure this codec alone."""
    model, rate, beam = codec.model, codec.sample_rate, DEFAULT_BEAM
    torch.manual_seed(0)
    wav = 0.1 * torch.randn(1, 1, round(seconds * rate))
    length = wav.shape[-1] / rate  # seconds, of whole samples
    encoded = codec.encode(wav[0], rate, bitrate_kbps=kbps)
    data = encoded.to_bytes()
    steps: dict[str, Step] = {
        "encode": lambda: codec.encode(wav[0], rate, bitrate_kbps=kbps),
        "decode": lambda: codec.decode(encoded),
    }
    if peer is not None:
        steps["peer_encode"], steps["peer_decode"] = peer_steps(peer, wav, kbps)
    steps |= {
        "write": encoded.to_bytes,
        "read": lambda: Encoded.from_bytes(data),
    }
    times = take_turns(steps, runs, CLOCKS[clock])

    def speed(name: str) -> float:
        return length / statistics.median(times[name])

    macs = {k: v / length * 1e-9 for k, v in own_macs(codec, wav, kbps, beam).items()}
    result: Result = {
        "seconds": length,
        "kbps": kbps,
        "beam": beam,
        "runs": runs,
        "clock": clock,
        "threads": 1,
        "torch": torch.__version__,
        "eulerodec": {
            "parameters": parameters(model),
            "codebook_values": model.book.codebooks.numel(),
            "encoder_gmacs": macs["encoder"],
            "search_gmacs": macs["search"],
            "encode_gmacs": macs["encoder"] + macs["search"],
            "decode_gmacs": macs["decoder"],
            "encode_speed": speed("encode"),
            "decode_speed": speed("decode"),
            "latency_s": model.latency_s,
        },
        "file": {"write_speed": speed("write"), "read_speed": speed("read")},
        "encodec": None,
        "ratio": None,
    }
    if peer is not None:
        encode, decode = steps["peer_encode"], steps["peer_decode"]
        result["encodec"] = {
            "parameters": parameters(peer),
            "encode_gmacs": count_macs(encode) / length * 1e-9,
            "decode_gmacs": count_macs(decode) / length * 1e-9,
            "encode_speed": speed("peer_encode"),
            "decode_speed": speed("peer_decode"),
        }
        result["ratio"] = {
            key: result["eulerodec"][key] / result["encodec"][key]
            for key in ("parameters", "encode_gmacs", "decode_gmacs")
        } | {
            f"{name}_speed": statistics.median(
                theirs / ours
                for ours, theirs in zip(times[name], times[f"peer_{name}"], strict=True)
            )
            for name in ("encode", "decode")
        }
    return result


def table(result: Result) -> str:
    """The result of :func:`measure` as text."""
    own, peer, ratio = result["eulerodec"], result["encodec"], result["ratio"]
    lines = [
        f"{result['seconds']:.1f} s at {result['kbps']} kbps, beam {result['beam']}, one thread,"
        f" median of {result['runs']} alternating runs, {result['clock']} clock,"
        f" torch {result['torch']}",
        f"{'':<32}{'EuleroDec':>10}" + (f"{PEER:>16}{'ratio':>8}" if peer else ""),
    ]

    def row(label: str, key: str, scale: float = 1.0, digits: int = 2) -> None:
        text = f"{label:<32}{own[key] * scale:>10.{digits}f}"
        if peer and key in peer:
            text += f"{peer[key] * scale:>16.{digits}f}{ratio[key]:>8.2f}"
        lines.append(text)

    row("parameters, million", "parameters", 1e-6)
    row("codebook values, million", "codebook_values", 1e-6)
    row("encode, GMAC per second of audio", "encode_gmacs")
    row("  of this the transform", "encoder_gmacs")
    row("  of this the search of codes", "search_gmacs")
    row("decode, GMAC per second of audio", "decode_gmacs")
    row("encode, x real time", "encode_speed", digits=1)
    row("decode, x real time", "decode_speed", digits=1)
    file = result["file"]
    lines.append(
        "packets to a file and back, x real time:"
        f" write {file['write_speed']:.0f}, read {file['read_speed']:.0f}"
    )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the audio")
    parser.add_argument("--runs", type=int, default=7, help="timed runs of each step")
    # bitrates that both codecs have
    parser.add_argument("--bitrate", type=int, choices=(3, 6, 12), default=6, help="kbps")
    parser.add_argument("--weights", help="name or directory; bundled by default")
    parser.add_argument("--tiny", action="store_true", help="a very small model, for tests")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    parser.add_argument("--no-peer", action="store_true", help="measure EuleroDec alone")
    parser.add_argument("--json", action="store_true", help="numbers as JSON")
    args = parser.parse_args(argv)
    if args.seconds < 0.1 or args.runs < 1:
        parser.error("--seconds must be at least 0.1 and --runs at least 1")
    try:
        codec, about = load_codec(args.weights, args.tiny)
    except EuleroDecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    peer = None if args.no_peer else build_peer()
    if peer is None and not args.no_peer:
        print(NO_PEER, file=sys.stderr)
    result = measure(
        codec,
        seconds=args.seconds,
        runs=args.runs,
        kbps=args.bitrate,
        clock=args.clock,
        peer=peer,
    )
    result["weights"] = about
    print(json.dumps(result, indent=2) if args.json else f"EuleroDec, {about}\n{table(result)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
