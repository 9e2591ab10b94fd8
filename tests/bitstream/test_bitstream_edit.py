"""Cut, join, seek, metadata: no packet changes, and the audio is that of the whole file."""

import io
import itertools

import numpy as np
import pytest
from helpers.streams import (
    concat,
    cut,
    header_end,
    lower,
    make_constant,
    make_info,
    make_payloads,
    make_stream,
    packet_offsets,
    pairs,
    read_codes,
    with_body,
    write_stream,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from minimal_decoder import constant_codes, decode, parts

from eulerodec.bitstream import (
    EulWriter,
    Segment,
    Timeline,
    read,
    read_range,
)
from eulerodec.errors import BitstreamError


def toy_audio(data, *, at_model_rate=False, back=5, ahead=3):
    """Decode with a toy codec of known receptive field, by the rules of the specification.

    Sample n of frame t is a sum over frames t - back to t + ahead with position-dependent weights,
    and missing frames count as zero, so audio near a cut that lacks its context is wrong. The toy
    resampler sums over 300 samples to each side.
    """
    info = read(data).info
    codes = np.array(constant_codes(*decode(data))[1])
    rows = []
    for frames, part in parts(data):
        piece = codes[0, :, frames].sum(0).astype(float)
        padded = np.pad(piece, (back, ahead))
        taps = 1.0 / np.arange(1, back + ahead + 2)
        level = np.convolve(padded, taps, "valid")[: len(piece)]
        ramp = np.arange(1, info.hop_length + 1)
        audio = (level[:, None] * ramp).reshape(-1)[part["first_sample"] :][: part["n_decoded"]]
        assert len(audio) == part["n_decoded"]
        if at_model_rate or info.input_sample_rate == info.sample_rate:
            rows.append(audio[part["skip"] :][: part["n"]])
            continue
        up = info.input_sample_rate
        total = np.concatenate([np.zeros(300), audio, np.zeros(900)])
        wanted = part["skip_input"] + np.arange(part["n_input"])
        at, rest = np.divmod(wanted * info.sample_rate, up)
        kernel = [(total[at + 300 + d], d - rest / up) for d in range(-300, 301, 60)]
        rows.append(sum(value * np.exp(-((x / 150) ** 2)) for value, x in kernel))
    return np.concatenate([np.zeros(0), *rows])


@st.composite
def files(draw, rate=None, size=None, max_frames=900):
    rate = rate or draw(st.sampled_from([8000, 22_050, 24_000, 44_100, 48_000, 11_025]))
    return make_constant(
        draw(st.integers(1, max_frames)),
        live=draw(st.booleans()),
        seed=draw(st.integers(0, 9)),
        input_sample_rate=rate,
        frames_per_packet=size or draw(st.integers(1, 100)),
        n_codebooks=2,
        context=(5, 3),  # the toy decoder sees just that far
    )[0]


@settings(max_examples=80, deadline=None)
@given(data=files(), points=st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True))
def test_a_cut_sounds_like_the_whole(data, points):
    info = read(data).info
    start, stop = sorted(round(point * info.n_input_samples) for point in points)
    if start == stop:
        return
    part = cut(data, start, stop)
    whole = toy_audio(data)
    assert len(whole) == info.n_input_samples
    np.testing.assert_allclose(toy_audio(part), whole[start:stop], rtol=0, atol=1e-6)
    # at the model's rate: adjacent cuts share no sample and leave none out
    low = -(-start * 24_000 // info.input_sample_rate)
    got = toy_audio(part, at_model_rate=True)
    np.testing.assert_allclose(
        got, toy_audio(data, at_model_rate=True)[low : low + len(got)], rtol=0, atol=1e-6
    )
    # bounded: what is kept beside the range is context and whole packets, not the file
    file = read(part)
    extra = file.n_frames * 264 - file.info.n_samples
    assert extra <= (5 + 3 + 2 * 8 + 4 + 2 * info.frames_per_packet) * 264
    assert all(packet.payload for packet in file.packets)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_pieces_joined_are_the_whole(data):
    file = data.draw(files(max_frames=400))
    n = read(file).info.n_input_samples
    points = sorted({0, n, *data.draw(st.lists(st.integers(0, n), max_size=4))})
    pieces = [cut(file, a, b) for a, b in itertools.pairwise(points)]
    joined = concat(*pieces) if pieces else file
    info = read(joined).info
    assert (info.n_input_samples, info.n_samples) == (n, read(file).info.n_samples)
    np.testing.assert_allclose(toy_audio(joined), toy_audio(file), rtol=0, atol=1e-6)
    a, b = sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n))))
    if a < b:  # a cut of what was cut and joined
        again = cut(joined, a, b)
        np.testing.assert_allclose(toy_audio(again), toy_audio(file)[a:b], rtol=0, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    first=files(rate=44_100, size=10, max_frames=60),
    second=files(rate=44_100, size=10, max_frames=60),
)
def test_joined_files_sound_one_after_the_other(first, second):
    joined = concat(first, second)
    expected = np.concatenate([toy_audio(first), toy_audio(second)])
    np.testing.assert_array_equal(toy_audio(joined), expected)
    assert pairs(read(joined).packets) == pairs([*read(first).packets, *read(second).packets])
    assert decode(joined)[1] == pairs(read(joined).packets)
    assert lower(joined, 1) == concat(lower(first, 1), lower(second, 1))


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=2, max_size=5),
    lost=st.sets(st.integers(0, 30), max_size=6),
    by_hole=st.booleans(),
)
def test_packets_lost_from_a_joined_file_keep_the_time_of_the_rest(lengths, lost, by_hole):
    """Short packets in the middle: the segments say how long a lost one was."""
    pieces = [make_stream(n, seed=i, frames_per_packet=8)[0] for i, n in enumerate(lengths)]
    joined = concat(*pieces)
    at, packets = packet_offsets(joined), read(joined).packets
    lost &= set(range(len(packets)))
    kept = [joined[: at[0]]]
    for i in range(len(packets)):
        part = joined[at[i] : at[i + 1]]
        kept.append(part if i not in lost else bytes(len(part)) * by_hole)
    file = read(b"".join([*kept, joined[at[-1] :]]), recover=True)
    expected = [
        (p.start_frame, p.n_frames, None if p.index in lost else p.payload) for p in packets
    ]
    assert [(p.start_frame, p.n_frames, p.payload) for p in file.packets] == expected
    assert file.info == read(joined).info


@pytest.mark.parametrize("live", [False, True])
def test_bitrates_of_joined_files(live):
    """Planes of any bitrate fit together; the rate of the whole can then be lowered."""
    low, _ = make_stream(50, live=live, bitrate_kbps=3)
    high, _ = make_stream(50, live=live, bitrate_kbps=12.5, seed=1)
    joined = concat(low, high, low)
    assert read(joined).info.bitrate_kbps == 12.5
    lowered = read(lower(joined, 1.5))
    assert lowered.info == read(joined).info.replace(bitrate_kbps=1.5)
    assert len(lower(joined, 1.5)) < len(joined)


def test_a_cut_of_everything_is_the_file():
    data, _ = make_stream(50, input_sample_rate=44_100)
    assert cut(data, 0) == cut(data, 0, 10**9) == data == concat(data)
    live, _ = make_stream(50, live=True, input_sample_rate=44_100)
    assert cut(live, 0) == data  # now the header has the counts
    empty, _ = make_stream(0)
    assert cut(empty, 0) == empty and concat(empty, empty) == empty


@pytest.mark.parametrize(
    ("start", "stop"), [(-1, 5), (5, 5), (6, 5), (3520, None), (10**12, 10**13)]
)
def test_an_empty_range(start, stop):
    data, _ = make_stream(14)
    with pytest.raises(BitstreamError, match=r"has nothing of the file, it is 0\.147 s long"):
        cut(data, start, stop)


def test_what_does_not_fit_together():
    data, _ = make_stream(n_codebooks=3)
    for changes, words in (
        ({"weights_hash": bytes(8)}, "weights 0000000000000000, not 0001020304050607"),
        ({"n_codebooks": 4}, "codebooks 4, not 3; `eulerodec rate`"),
        ({"n_codebooks": None}, "coding planes, not constant"),
        ({"n_channels": 2}, "channels 2, not 1"),
        ({"input_sample_rate": 48_000}, "input sample rate 48000, not 24000"),
        ({"hop_length": 320}, "hop length 320, not 264"),
        ({"codebook_bits": 10}, "bits per code 10"),
        ({"sample_rate": 16_000}, "model sample rate 16000"),
        ({"frames_per_packet": 12}, "frames per packet 12, not 4"),
    ):
        other, _ = make_stream(**{"n_codebooks": 3, **changes})
        with pytest.raises(BitstreamError, match=f"file 2 does not fit to file 1: {words}"):
            concat(data, other)
    with pytest.raises(BitstreamError, match=r"file 2: the file is cut short"):
        concat(data, data[:-1])
    with pytest.raises(BitstreamError, match="no files"):
        concat()


def test_too_many_parts():
    one, _ = make_stream(1)
    assert len(read(concat(*[one] * 2000)).info.segments) == 2000
    with pytest.raises(BitstreamError, match="2001 parts, the limit is 2000"):
        concat(*[one] * 2001)


# --- parts of damaged files, and headers that lie about parts


def test_damage_is_placed_in_the_time_of_the_output():
    first, _ = make_stream(100)
    second, _ = make_stream(400)
    joined = concat(cut(first, 2640, 13_200), cut(second, 52_800, 79_200))
    info, packets = read(joined).info, list(read(joined).packets)
    at = packet_offsets(joined)
    broken = bytearray(joined)
    broken[at[-3] + 6] ^= 1
    file = read(bytes(broken), recover=True)
    assert file.damage[0].start_s <= info.duration_s and file.lost_s <= 4 * 264 / 24_000
    for cut_at in range(at[0], len(joined), 37):
        file = read(joined[:cut_at], recover=True)
        n = file.n_frames
        assert file.packets == packets[: len(file.packets)]
        assert sum(segment.n_frames for segment in file.info.segments) == n
        assert file.info.duration_s + file.damage[-1].lost_s == pytest.approx(info.duration_s)
        for first_frame, part in file.info.timeline.parts(n):
            assert first_frame + part.n_frames <= n


def segment(**changes):
    fields = {
        "n_frames": 10,
        "first_sample": 0,
        "n_decoded": 2640,
        "skip_samples": 100,
        "n_samples": 500,
        "skip_input_samples": 100,
        "n_input_samples": 500,
    }
    return Segment(**{**fields, **changes})


def with_segments(info, *segments):
    return info.with_timeline(info.timeline.of_segments(segments))


@pytest.mark.parametrize(
    ("parts_of_it", "message"),
    [
        ([segment(n_decoded=2641)], "10 frames cannot give 500 samples"),
        ([segment(first_sample=1)], "10 frames cannot give 500 samples"),
        ([segment(n_decoded=599)], "cannot give"),
        ([segment(n_frames=-1)], "must be 0 to"),
        ([segment(n_frames=2**40)], "must be 0 to"),
        ([segment(skip_input_samples=900)], "not the same duration"),
        ([segment(n_input_samples=0)], "not the same duration"),
        ([segment()] * 2001, "limit is 2000"),
    ],
)
def test_segments_that_make_no_sense(parts_of_it, message):
    with pytest.raises(BitstreamError, match=message):
        with_segments(make_info(), *parts_of_it)


def test_segments_and_counts_must_agree():
    with pytest.raises(BitstreamError, match="segments have 500 and 500 samples, the header says"):
        make_info(segments=(segment(),), n_samples=400, n_input_samples=400)
    with pytest.raises(BitstreamError, match="must have sample counts"):
        make_info(segments=(segment(),))
    info = with_segments(make_info(), segment())
    writer = EulWriter(io.BytesIO(), info)
    writer.write(b"", 4)
    with pytest.raises(BitstreamError, match="3 frames does not fit at frame 4: its segment ends"):
        writer.write(b"", 3)
    writer.write(b"", 4)
    with pytest.raises(BitstreamError, match="segments have 10 frames, the file 8"):
        writer.close()
    payloads = make_payloads(info, 10)
    data = write_stream(info, payloads)
    assert read(data).info == info and pairs(read(data).packets) == payloads
    # the same header in front of 14 frames
    longer, _ = make_stream(14)
    lying = data[: header_end(data)] + longer[header_end(longer) :]
    with pytest.raises(
        BitstreamError, match=r"packet 2 .* is damaged: packet 2 stands in its place"
    ):
        read(lying)
    assert read(lying, recover=True).n_frames <= 10
    # a field that is cut short, is empty, or comes twice
    body = data[7 : header_end(data) - 4]
    at = body.rindex(b"\x80", 0, body.index(b"test-model") + 12)
    field = body[at:]
    for wrong in (field[:-1], b"\x80\x00", b"\x80\x01\x05", field + field):
        with pytest.raises(BitstreamError, match=r"header is damaged|header field 0x80"):
            read(with_body(data, body[:at] + wrong))


def test_times_of_frames():
    whole = Timeline(sample_rate=24_000, input_sample_rate=8000, hop_length=240)
    assert whole.frame_time(150) == 1.5 and whole.duration is None
    known = whole.replace(4000, 1333)
    assert known.frame_time(5) == 0.05 and known.frame_time(150) == pytest.approx(1333 / 8000)
    assert known.segment_end(3) is None and known.n_frames_needed == 17
    kept = {"first_sample": 240, "skip_samples": 240, "n_samples": 480}
    kept |= {"skip_input_samples": 80, "n_input_samples": 160}
    parts_of_it = known.of_segments(
        segment(n_frames=n, n_decoded=n * 240 - 240, **kept) for n in (10, 6)
    )
    times = [parts_of_it.frame_time(frame) for frame in (0, 2, 3, 4, 9, 10, 12, 13, 16, 99)]
    assert times == pytest.approx([0, 0, 0.01, 0.02, 0.02, 0.02, 0.02, 0.03, 0.04, 0.04])
    assert [parts_of_it.segment_end(frame) for frame in (0, 9, 10, 15, 16)] == [10, 10, 16, 16, 16]


def test_context_decides_how_much_a_cut_keeps():
    sizes = []
    for context in ((64, 32), (10, 3), (0, 0)):
        data, _ = make_stream(900, context=context)
        part = cut(data, 132_000, 158_400)  # frames 500 to 600
        sizes.append(read(part).n_frames)
        assert read(part).info.context == context
    # 8 frames for the resampler on both sides and the context, to whole packets of 4
    assert sizes == [212, 132, 116]
    assert read(make_stream(9)[0]).info.context == (64, 32)


def test_codes_of_a_cut_are_those_of_the_whole():
    data, levels, codes = make_constant(300, frames_per_packet=10, context=(12, 7))
    file = read_range(io.BytesIO(data), 26_400, 52_800)  # frames 100 to 200
    got = read_codes(file)
    assert np.array_equal(got[1], codes[:, :, 80:220]) and np.array_equal(got[0], levels[8:22])
