"""An .eul reader, written from docs/bitstream.md alone: standard library only.

Nothing of the package is in it. Slow and simple on purpose; the tests hold the package against it.
"""

import struct
import zlib
from bisect import bisect_right
from contextlib import suppress

RATES = [0, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 176400]
RATES += [192000]
SEGMENT = "n_frames first_sample n_decoded skip n skip_input n_input".split()


def _need(condition, message):
    if not condition:
        raise ValueError(message)


def _number(data, at):
    """A varint at ``at``, and the place after it."""
    number = shift = 0
    while True:
        _need(at < len(data) and shift < 42, "a number without an end")
        number |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return number, at


def _numbers(data):
    numbers, at = [], 0
    while at < len(data):
        number, at = _number(data, at)
        numbers.append(number)
    return numbers


def read_header(data):
    """(header dict, its size in bytes) of a file."""
    _need(data[:4] == b"\x89EUL" and data[4] == 2, "magic or version")
    end = 7 + struct.unpack_from(">H", data, 5)[0]
    _need(struct.unpack_from(">I", data, end)[0] == zlib.crc32(data[:end]), "header checksum")
    at = 17

    def number():
        nonlocal at
        value, at = _number(data[:end], at)
        return value

    flags = data[7]
    _need(flags < 8, "flags")
    head = {"coding": ["planes", "constant"][flags & 1], "weights_hash": data[8:16].hex()}
    head["n_channels"], head["hop_length"], head["frames_per_packet"] = number(), number(), number()
    head["sample_rate"] = RATES[data[16] >> 4] or number()
    head["input_sample_rate"] = RATES[data[16] & 15] or number()
    head["n_samples"] = head["n_input_samples"] = None
    if not flags & 2:
        head["n_input_samples"] = n = number()
        usual = -(-n * head["sample_rate"] // head["input_sample_rate"])
        head["n_samples"] = number() if flags & 4 else usual
    if flags & 1:
        head["n_codebooks"], head["codebook_bits"], size = data[at : at + 3]
    else:
        head["bitrate_kbps"], size = int.from_bytes(data[at : at + 2], "big") / 100, data[at + 2]
    at += 3
    head["model_id"] = data[at : at + size].decode()
    at += size
    found = {}
    while at < end:
        tag, at = data[at], at + 1
        size = number()
        _need(tag <= 0x80 and at + size <= end, "optional field")
        found.setdefault(tag, data[at : at + size])
        at += size
    head["title"], head["comment"] = found.get(1, b"").decode(), found.get(2, b"").decode()
    head["gain_db"] = struct.unpack(">h", found.get(3, b"\0\0"))[0] / 256
    head["context"] = _numbers(found.get(4, b"\x40\x20"))
    flat = _numbers(found.get(0x80, b""))
    head["segments"] = [
        dict(zip(SEGMENT, flat[i : i + 7], strict=True)) for i in range(0, len(flat), 7)
    ]
    return head, end + 4


def _checksum(data):
    return (zlib.crc32(data) % (1 << 24)).to_bytes(3, "big")


def decode(data):
    """(header dict, packets) of a whole file.

    The counts of the end packet are put into the header; packets are (n_frames, payload).
    """
    head, at = read_header(data)
    packets, done, short = [], 0, False
    ends, total = set(), 0
    for segment in head["segments"]:
        total += segment["n_frames"]
        ends.add(total)
    while True:
        _need(data[at] == 0xE5 and data[at + 2] == len(packets) % 256, "sync or index")
        n_frames = data[at + 1]
        if n_frames == 0:
            break
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        payload = data[at + 8 : at + 8 + size]
        _need(len(payload) == size, "payload")
        _need(_checksum(data[at : at + 5] + payload) == data[at + 5 : at + 8], "packet checksum")
        _need(not short and n_frames <= head["frames_per_packet"], "a short packet in the middle")
        packets.append((n_frames, payload))
        done += n_frames
        short = n_frames < head["frames_per_packet"] and done not in ends
        at += 8 + size
    start, at = at, at + 3
    if head["n_samples"] is None:
        head["n_samples"], at = _number(data, at)
        head["n_input_samples"], at = _number(data, at)
    _need(data[at:] == _checksum(data[start:at]), "end packet")
    _need(head["n_samples"] <= done * head["hop_length"], "too few frames")
    _need(total in (0, done), "frames of the segments")
    return head, packets


def constant_codes(head, packets, n_codebooks=None):
    """(levels[packet][channel], codes[channel][codebook][frame]) of the constant coding."""
    n_channels, bits = head["n_channels"], head["codebook_bits"]
    keep = n_codebooks or head["n_codebooks"]
    levels, codes = [], [[[] for _ in range(keep)] for _ in range(n_channels)]
    for n_frames, payload in packets:
        n_bits = n_frames * head["n_codebooks"] * n_channels * bits
        _need(len(payload) == n_channels + -(-n_bits // 8), "payload size")
        levels.append(list(payload[:n_channels]))
        value, left = int.from_bytes(payload[n_channels:], "big"), 8 * (len(payload) - n_channels)
        for codebook in range(keep):
            for channel in range(n_channels):
                for _ in range(n_frames):
                    left -= bits
                    codes[channel][codebook].append(value >> left & ((1 << bits) - 1))
    return levels, codes


def parts(data):
    """What to decode on its own and what to keep of it: (slice of frames, segment dict)."""
    head, packets = decode(data)
    n, n_input = head["n_samples"], head["n_input_samples"]
    n_frames = sum(packet[0] for packet in packets)
    whole = dict(zip(SEGMENT, [n_frames, 0, n, 0, n, 0, n_input], strict=True))
    found, first = [], 0
    for segment in head["segments"] or [whole]:
        found.append((slice(first, first + segment["n_frames"]), segment))
        first += segment["n_frames"]
    return found


class Ended(Exception):
    """The bytes do not tell the next code."""


class RangeReader:
    """A range decoder of bytes that are followed by the byte ``fill`` without end."""

    def __init__(self, data, fill):
        self.data, self.fill, self.at = data, fill, 0
        self.low, self.width = 0, 2**64 - 1
        self.point = self.word() << 32 | self.word()

    def word(self):
        part = self.data[self.at : self.at + 4]
        self.at += 4
        return int.from_bytes(part + bytes([self.fill]) * (4 - len(part)), "big")

    def read(self, starts):
        """The next symbol; ``starts``: where each starts in 2^24, and 2^24."""
        unit = self.width >> 24
        place = (self.point - self.low) % 2**64 // unit
        if place >= 2**24:
            raise Ended
        symbol = bisect_right(starts, place) - 1
        self.low = (self.low + unit * starts[symbol]) % 2**64
        self.width = unit * (starts[symbol + 1] - starts[symbol])
        if self.width < 2**32:
            self.low, self.width = (self.low << 32) % 2**64, self.width << 32
            self.point = (self.point << 32) % 2**64 | self.word()
        return symbol


def starts_of(counts):
    """From frequencies less one that sum to 2^16."""
    n, total, starts = len(counts), 0, []
    for k, count in enumerate(counts):
        starts.append(total * (2**24 - n) // 2**16 + k)
        total += count + 1
    return [*starts, 2**24]


class PayloadReader:
    """Reads payloads of the planes; ``tables`` are lists by name."""

    def __init__(self, tables):
        self.t, self.starts = tables, {}
        self.n_bands = len(tables["band_width"])
        self.block = len(tables["energy_mean"]) // self.n_bands
        self.n_base = len(tables["energy_books"]) - len(tables["energy_plane"])

    def read(self, payload, n_channels, n_frames):
        """Levels [C], energies [C][Q][blocks], latents [C][K][T]; -1 where there is none."""
        blocks = -(-n_frames // self.block)
        levels = [-1] * n_channels
        energies = [[[-1] * blocks for _ in self.t["energy_books"]] for _ in levels]
        latents = [[[-1] * n_frames for _ in self.t["latent_plane"]] for _ in levels]
        self.ends = RangeReader(payload, 0x00), RangeReader(payload, 0xFF)
        with suppress(Ended):
            if payload:
                self._fill(levels, energies, latents)
        return levels, energies, latents

    def _fill(self, levels, energies, latents):
        for c in range(len(levels)):
            levels[c] = self._symbol("levels", 0, 0)
        heard = [c for c, level in enumerate(levels) if level > 0]
        for b in range(len(energies[0][0])):
            for c in heard:
                context = self._context(energies, c, b - 1) if b else 0
                for q in range(self.n_base):
                    energies[c][q][b] = self._symbol("energy_counts", q, context)
                    context = self._context(energies, c, b)
        frames = {c: self._frames(levels, energies, c, len(latents[0][0])) for c in heard}
        for _, kind, stage, c, at in sorted(self._order(frames, len(energies[0][0]))):
            if kind == 0:
                context = self._context(energies, c, at)
                energies[c][stage][at] = self._symbol("energy_counts", stage, context)
            else:
                latents[c][stage][at] = self._symbol("latent_counts", stage, frames[c][at][1])

    def _context(self, energies, c, b):
        return self.t["energy_class"][energies[c][0][b]]

    def _symbol(self, name, stage, context):
        key = name, stage, context
        if key not in self.starts:
            counts = [255] * 256 if name == "levels" else self.t[name][stage][context]
            self.starts[key] = starts_of(counts)
        found = {end.read(self.starts[key]) for end in self.ends}
        if len(found) > 1:
            raise Ended
        return found.pop()

    def _order(self, frames, blocks):
        """(plane, kind, stage, channel, place) of all codes after the base."""
        for c, facts in frames.items():
            for stage, planes in enumerate(self.t["latent_plane"]):
                yield from ((planes[delay], 1, stage, c, at) for at, (delay, _) in enumerate(facts))
            for stage, planes in enumerate(self.t["energy_plane"]):
                for b in range(blocks):
                    delays = [delay for delay, _ in facts[b * self.block : (b + 1) * self.block]]
                    yield planes[min(delays)], 0, self.n_base + stage, c, b

    def _frames(self, levels, energies, c, n_frames):
        """(delay, class) of each frame of a channel, from levels and base energies."""
        v, matrix = len(self.t["energy_mean"]), self.t["energy_matrix"]
        before, frames = self.t["energy_mean"], []
        for b in range(len(energies[c][0])):
            block = []
            for k in range(v):
                total = sum(before[u] * matrix[u][k] for u in range(v)) + matrix[v][k]
                value = (total + 2048) >> 12
                for q in range(self.n_base):
                    value += self.t["energy_books"][q][energies[c][q][b]][k]
                block.append(min(max(value, -1920), 960))
            before = block
            frames += [block[k : k + self.n_bands] for k in range(0, v, self.n_bands)]
        frames = frames[:n_frames]
        loudness = [self._loudness(frame) for frame in frames]
        softer = 12 * (max(levels) - levels[c])
        delays = [self._delay(x - softer) for x in loudness]
        return [(delay, self._class(frames, loudness, k)) for k, delay in enumerate(delays)]

    def _loudness(self, frame):
        power, steps = self.t["loudness_power"], self.t["loudness_steps"]
        top, total = max(frame), 0
        for value, width in zip(frame, self.t["band_width"], strict=True):
            total += width * power[min(top - value, len(power) - 1)]
        return top - (len(steps) - bisect_right(steps, total))

    def _delay(self, loudness):
        waiting = (-max(loudness, -960) * self.t["delay_slope"][0]) >> 12
        return min(max(waiting, 0), len(self.t["latent_plane"][0]) - 1)

    def _class(self, frames, loudness, k):
        features = []
        for near in (max(k - 1, 0), k, min(k + 1, len(frames) - 1)):
            features += [min(max((x - loudness[near]) >> 3, -80), 80) for x in frames[near]]
        distances = [
            sum((f - x) ** 2 for f, x in zip(features, centre, strict=True))
            for centre in self.t["class_centres"]
        ]
        return distances.index(min(distances))
