"""Cut, join, seek, metadata: no code changes, and the audio is that of the whole file."""

import io
import itertools
import math

import numpy as np
import pytest
from bitstream_samples import (
    OneByteAtATime,
    make_codes,
    make_info,
    make_stream,
    packet_offsets,
    raw_packet,
    with_header_bytes,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from minimal_decoder import decode, parts

from eulerodec.bitstream import (
    LOST,
    EulReader,
    EulWriter,
    Metadata,
    Segment,
    concat_files,
    cut_file,
    drop_stages,
    dumps,
    loads,
    read,
    read_range,
)
from eulerodec.errors import BitstreamError


def cut(data, start, stop=None):
    sink = io.BytesIO()
    cut_file(io.BytesIO(data), sink, start, stop)
    return sink.getvalue()


def concat(*files):
    sink = io.BytesIO()
    concat_files([io.BytesIO(data) for data in files], sink)
    return sink.getvalue()


def toy_audio(data, *, at_model_rate=False, back=5, ahead=3):
    """Decode with a toy codec of known receptive field, by the rules of the specification.

    Sample n of frame t is a sum over frames t - back to t + ahead with position-dependent weights,
    and missing frames count as zero, so audio near a cut that lacks its context is wrong. The toy
    resampler sums over 300 samples to each side.
    """
    info, codes = loads(data)
    rows = []
    for frames, n_decoded, skip, n_samples, skip_input, n_input in parts(data):
        piece = codes[0, :, frames].sum(0).astype(float)
        padded = np.pad(piece, (back, ahead))
        taps = 1.0 / np.arange(1, back + ahead + 2)
        level = np.convolve(padded, taps, "valid")[: len(piece)]
        ramp = np.arange(1, info.hop_length + 1)
        audio = (level[:, None] * ramp).reshape(-1)[:n_decoded]
        if at_model_rate or info.input_sample_rate == info.sample_rate:
            rows.append(audio[skip : skip + n_samples])
            continue
        up = info.input_sample_rate
        total = np.concatenate([np.zeros(300), audio, np.zeros(900)])
        at, rest = np.divmod((skip_input + np.arange(n_input)) * info.sample_rate, up)
        kernel = [(total[at + 300 + d], d - rest / up) for d in range(-300, 301, 60)]
        rows.append(sum(value * np.exp(-((x / 150) ** 2)) for value, x in kernel))
    return np.concatenate([np.zeros(0), *rows])


@st.composite
def files(draw, rate=None, max_frames=900):
    rate = rate or draw(st.sampled_from([8000, 22_050, 24_000, 44_100, 48_000, 11_025]))
    return make_stream(
        draw(st.integers(1, max_frames)),
        live=draw(st.booleans()),
        input_sample_rate=rate,
        frames_per_packet=draw(st.integers(1, 40)),
        n_codebooks=2,
        extensions=((4, b"\0\5\0\3"),),  # the toy decoder sees just that far
    )[0]


@settings(max_examples=80, deadline=None)
@given(data=files(), points=st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True))
def test_a_cut_sounds_like_the_whole(data, points):
    info, _ = loads(data)
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
    # bounded: what is kept beside the range is context, not the file
    extra = loads(part)[1].shape[2] * 264 - loads(part)[0].n_samples
    grid = 24_000 // math.gcd(24_000, 264 * info.input_sample_rate)
    assert extra <= (5 + 3 + 2 * 8 + 4 + grid) * 264


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_pieces_joined_are_the_whole(data):
    file = data.draw(files())
    n = loads(file)[0].n_input_samples
    points = sorted({0, n, *data.draw(st.lists(st.integers(0, n), max_size=4))})
    pieces = [cut(file, a, b) for a, b in itertools.pairwise(points)]
    joined = concat(*pieces) if pieces else file
    assert (loads(joined)[0].n_input_samples, loads(joined)[0].n_samples) == (
        n,
        loads(file)[0].n_samples,
    )
    np.testing.assert_allclose(toy_audio(joined), toy_audio(file), rtol=0, atol=1e-6)
    a, b = sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n))))
    if a < b:  # a cut of what was cut and joined
        again = cut(joined, a, b)
        np.testing.assert_allclose(toy_audio(again), toy_audio(file)[a:b], rtol=0, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(first=files(rate=44_100, max_frames=60), second=files(rate=44_100, max_frames=60))
def test_joined_files_sound_one_after_the_other(first, second):
    joined = concat(first, second)
    expected = np.concatenate([toy_audio(first), toy_audio(second)])
    np.testing.assert_array_equal(toy_audio(joined), expected)
    codes = np.concatenate([loads(first)[1], loads(second)[1]], axis=2)
    assert np.array_equal(loads(joined)[1], codes)
    assert decode(joined)[1] == codes.tolist()
    lower = drop_stages(joined, 1)  # a file of parts stays one
    assert lower == concat(drop_stages(first, 1), drop_stages(second, 1))


def test_a_cut_of_everything_is_the_file():
    data, codes = make_stream(50, input_sample_rate=44_100)
    assert cut(data, 0) == cut(data, 0, 10**9) == data == concat(data)
    live, _ = make_stream(50, live=True, input_sample_rate=44_100)
    assert cut(live, 0) == data  # now the header has the counts
    empty, _ = make_stream(0)
    assert cut(empty, 0) == empty and concat(empty, empty) == empty
    assert np.array_equal(
        loads(concat(empty, data.replace(b"", b"")[:0] + empty))[1], codes[..., :0]
    )


@pytest.mark.parametrize(
    ("start", "stop"), [(-1, 5), (5, 5), (6, 5), (3520, None), (10**12, 10**13)]
)
def test_an_empty_range(start, stop):
    data, _ = make_stream(14)
    with pytest.raises(BitstreamError, match=r"has nothing of the file, it is 0\.147 s long"):
        cut(data, start, stop)


def test_what_does_not_fit_together():
    data, _ = make_stream()
    for changes, words in (
        ({"weights_hash": bytes(8)}, "weights 0000000000000000, not 0001020304050607"),
        ({"n_codebooks": 4}, "stages 4, not 3; `eulerodec rate`"),
        ({"n_channels": 2}, "channels 2, not 1"),
        ({"input_sample_rate": 48_000}, "input sample rate 48000, not 24000"),
        ({"hop_length": 320}, "hop length 320, not 264"),
        ({"codebook_bits": 10}, "bits per code 10"),
        ({"sample_rate": 16_000}, "model sample rate 16000"),
    ):
        other = dumps(
            make_info(**changes),
            np.zeros((1, 3, 4), int)[[0] * changes.get("n_channels", 1)][
                :, [0] * changes.get("n_codebooks", 3)
            ],
        )
        with pytest.raises(BitstreamError, match=f"file 2 does not fit to file 1: {words}"):
            concat(data, other)
    with pytest.raises(BitstreamError, match=r"file 2: the file is cut short"):
        concat(data, data[:-1])
    with pytest.raises(BitstreamError, match="no files"):
        concat()


def test_too_many_parts():
    one = dumps(make_info(), make_codes(1, 3, 1))
    assert len(loads(concat(*[one] * 2000))[0].segments) == 2000
    with pytest.raises(BitstreamError, match="2001 parts, the limit is 2000"):
        concat(*[one] * 2001)


# --- seeking


@settings(max_examples=100, deadline=None)
@given(
    n_frames=st.integers(0, 60),
    size=st.integers(1, 9),
    ranges=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=5),
    live=st.booleans(),
    recover=st.booleans(),
    stages=st.integers(1, 3),
    prefix=st.binary(max_size=3),
)
def test_any_range_of_frames(n_frames, size, ranges, live, recover, stages, prefix):
    data, codes = make_stream(n_frames, live=live, frames_per_packet=size)
    fileobj = io.BytesIO(prefix + data)
    fileobj.seek(len(prefix))  # a stream may lie inside a file
    reader = EulReader(fileobj, recover=recover, n_codebooks=stages)
    for a, b in ranges:
        a, b = sorted((a, b))
        if b > n_frames and a < b:
            with pytest.raises(BitstreamError, match="after the end"):
                reader.read_frames(a, b)
        else:
            assert np.array_equal(reader.read_frames(a, b), codes[:, :stages, a:b])
    assert reader.scan() == n_frames
    assert reader.info == loads(data)[0] and reader.damage == []
    reader.seek(0)
    assert np.array_equal(reader.read_all(), codes[:, :stages])


class CountedReads(io.BytesIO):
    n_read = 0

    def read(self, size=-1):
        data = super().read(size)
        self.n_read += len(data)
        return data


def test_seeking_reads_only_what_is_asked_for():
    data, codes = make_stream(40_000, frames_per_packet=64)
    source = CountedReads(data)
    reader = EulReader(source)
    assert np.array_equal(reader.read_frames(39_000, 39_010), codes[:, :, 39_000:39_010])
    assert source.n_read < 1000 < len(data) / 100
    source = CountedReads(data)
    part = read_range(source, 9_000_000, 9_024_000)
    assert part.info.n_samples == 24_000 and source.n_read < 5000
    assert part.codes.shape[2] < 24_000 // 264 + 120


def test_seeking_past_damage_and_other_packets():
    data, codes = make_stream(40)
    at = packet_offsets(data)
    broken = bytearray(data)
    broken[at[2] + 20] ^= 1
    reader = EulReader(io.BytesIO(bytes(broken)))
    assert np.array_equal(reader.read_frames(12, 40), codes[:, :, 12:])  # damage is before it
    with pytest.raises(BitstreamError, match="packet 2 "):
        reader.read_frames(11, 13)
    reader = EulReader(io.BytesIO(bytes(broken)), recover=True)
    for _ in range(2):  # damage that is met twice is reported once
        got = reader.read_frames(6, 14)
        assert (got[:, :, 2:6] == LOST).all() and np.array_equal(got[:, :, 6:], codes[:, :, 12:14])
    assert len(reader.damage) == 1
    assert reader.lost_s == pytest.approx(4 * 264 / 24_000)
    assert reader.damage[0].start_s == pytest.approx(8 * 264 / 24_000)
    # a packet of an unknown kind in the middle: arithmetic fails, reading in order does not
    longer = data[: at[1]] + raw_packet(5, 0, b"new") + data[at[1] :]
    for recover in (False, True):
        reader = EulReader(io.BytesIO(longer), recover=recover)
        assert np.array_equal(reader.read_frames(13, 33), codes[:, :, 13:33])
        assert reader.scan() == 40 and reader.damage == []


def test_a_pipe_goes_forward_only():
    data, codes = make_stream(40)
    reader = EulReader(OneByteAtATime(data))
    assert np.array_equal(reader.read_frames(5, 9), codes[:, :, 5:9])
    assert np.array_equal(reader.read_frames(21, 30), codes[:, :, 21:30])
    with pytest.raises(BitstreamError, match="pipe and cannot go back"):
        reader.read_frames(3, 9)
    with pytest.raises(BitstreamError, match="pipe and cannot seek"):
        reader.scan()


def test_scan_of_a_live_file_that_was_cut_off():
    data, codes = make_stream(40, live=True)
    short = data[: packet_offsets(data)[7] + 5]
    with pytest.raises(BitstreamError, match="cut short after 7 whole packets"):
        EulReader(io.BytesIO(short)).scan()
    reader = EulReader(io.BytesIO(short), recover=True)
    assert reader.scan() == 28 and reader.info.n_samples == 28 * 264
    assert [damage.kind for damage in reader.damage] == ["truncated"]
    assert np.array_equal(reader.read_frames(20, 28), codes[:, :, 20:28])


# --- parts of damaged files, and headers that lie about parts


def test_damage_is_placed_in_the_time_of_the_output():
    first, _ = make_stream(100)
    second, _ = make_stream(400)
    joined = concat(cut(first, 2640, 13_200), cut(second, 52_800, 79_200))
    info, codes = loads(joined)
    at = packet_offsets(joined)
    broken = bytearray(joined)
    broken[at[-3] + 15] ^= 1
    file = read(bytes(broken), recover=True)
    assert file.damage[0].start_s <= info.duration_s and file.lost_s <= 4 * 264 / 24_000
    for cut_at in range(at[0], len(joined), 97):
        file = read(joined[:cut_at], recover=True)
        n = file.codes.shape[2]
        assert np.array_equal(file.codes, codes[:, :, :n])
        assert sum(segment.n_frames for segment in file.info.segments) == n
        assert file.info.duration_s + file.damage[-1].lost_s == pytest.approx(info.duration_s)
        for first_frame, segment in file.info.parts(n):
            assert first_frame + segment.n_frames <= n
            segment.check(264, 24_000, 24_000)


def segment(**changes):
    fields = {
        "n_frames": 10,
        "n_decoded": 2640,
        "skip_samples": 100,
        "n_samples": 500,
        "skip_input_samples": 100,
        "n_input_samples": 500,
    }
    return Segment(**{**fields, **changes})


@pytest.mark.parametrize(
    ("parts_of_it", "message"),
    [
        ([segment(n_decoded=2641)], "10 frames cannot give 500 samples"),
        ([segment(n_decoded=599)], "cannot give"),
        ([segment(n_frames=-1)], "must be 0 to"),
        ([segment(n_samples=2**40)], "must be 0 to"),
        ([segment(skip_input_samples=900)], "not the same duration"),
        ([segment(n_input_samples=0)], "not the same duration"),
        ([segment(n_frames=2**39, n_decoded=600)], "too many"),
        ([segment()] * 2001, "limit is 2000"),
    ],
)
def test_segments_that_make_no_sense(parts_of_it, message):
    with pytest.raises(BitstreamError, match=message):
        make_info().with_segments(parts_of_it)


def test_segments_and_counts_must_agree():
    with pytest.raises(BitstreamError, match="segments have 500 and 500 samples, the header says"):
        make_info(segments=(segment(),))
    info = make_info().with_segments([segment()])
    writer = EulWriter(io.BytesIO(), info)
    writer.write(make_codes(1, 3, 9))
    with pytest.raises(BitstreamError, match="segments have 10 frames, the file 9"):
        writer.close()
    data = dumps(info, make_codes(1, 3, 10))
    assert loads(data)[0] == info
    # the same header in front of 14 frames
    longer = dumps(make_info(), make_codes(1, 3, 14))
    end = 11 + int.from_bytes(data[5:7], "big")
    lying = data[:end] + longer[packet_offsets(longer)[0] :]
    with pytest.raises(BitstreamError, match="segments have 10 frames, the file 14"):
        loads(lying)
    assert read(lying, recover=True).damage[0].kind == "counts"
    # a field that is cut short, is empty, or comes twice
    at = data.index(b"\x80\x00\x1e")
    with pytest.raises(BitstreamError):
        loads(with_header_bytes(data, at + 2, b"\x1d"))
    twice = make_info(extensions=((7, b""),)).with_segments([segment()])
    body = dumps(twice, make_codes(1, 3, 10))
    at = body.index(b"\x07\x00\x00")
    with pytest.raises(BitstreamError, match="0 bytes of segments"):
        loads(with_header_bytes(body, at, b"\x80"))


# --- metadata


@settings(max_examples=100, deadline=None)
@given(
    title=st.text(max_size=60).filter(str.isprintable),
    comment=st.text(max_size=60).filter(lambda s: s.replace("\n", "").isprintable()),
    gain=st.floats(-127, 127),
)
def test_metadata_comes_back(title, comment, gain):
    metadata = Metadata(title=title, comment=comment, gain_db=gain)
    assert abs(metadata.gain_db - gain) <= 1 / 512
    assert metadata.gain == pytest.approx(10 ** (metadata.gain_db / 20))
    info = make_info(extensions=((9, b"kept"),)).with_metadata(metadata)
    data = dumps(info, make_codes(1, 3, 5))
    assert loads(data)[0].metadata == metadata
    assert (9, b"kept") in loads(data)[0].extensions
    assert loads(drop_stages(data, 1))[0].metadata == metadata
    assert loads(cut(data, 300, 900))[0].metadata == metadata
    assert info.with_metadata(Metadata()) == make_info(extensions=((9, b"kept"),))
    head = decode(data)[0]
    assert (head["title"], head["comment"], head["gain_db"]) == (title, comment, metadata.gain_db)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"title": "ä" * 128}, "title of 256 bytes"),
        ({"title": "a\nb"}, "title must be printable"),
        ({"title": "\x1b[2J"}, "title must be printable"),
        ({"comment": "x" * 4097}, "comment of 4097 bytes is too long, the limit is 4096"),
        ({"comment": "a\tb"}, "comment must be printable"),
        ({"title": "\ud800"}, "UTF-8"),
        ({"gain_db": 128}, "gain must be -127 to 127 dB"),
        ({"gain_db": math.nan}, "gain"),
    ],
)
def test_metadata_that_cannot_be_written(changes, message):
    with pytest.raises(BitstreamError, match=message):
        Metadata(**changes)


@pytest.mark.parametrize(
    "field",
    [(1, b"\xff"), (1, b"\x1b[2J"), (1, bytes(300)), (2, b"x" * 5000), (3, b"1"), (3, b"\x80\x00")],
)
def test_metadata_that_breaks_the_rules_counts_as_absent(field):
    data, _ = make_stream(extensions=(field,))
    info, _ = loads(data)
    assert info.metadata == Metadata() and info.extensions == (field,)


def test_the_first_of_two_titles_counts():
    assert make_info(extensions=((1, b"a"), (1, b"b"))).metadata.title == "a"


def test_joining_keeps_a_gain_only_if_it_is_that_of_all():
    def with_gain(gain):
        info = make_info().with_metadata(Metadata(title=f"{gain}", gain_db=gain))
        return dumps(info, make_codes(1, 3, 5))

    assert loads(concat(with_gain(3), with_gain(3)))[0].metadata.gain_db == 3
    mixed = loads(concat(with_gain(3), with_gain(-1)))[0].metadata
    assert mixed == Metadata(title="3")


def test_context_decides_how_much_a_cut_keeps():
    sizes = []
    for context in (None, (64, 32), (10, 3), (0, 0)):
        info = make_info() if context is None else make_info().with_context(*context)
        assert info.context == (context or (64, 32))
        data = dumps(info, make_codes(1, 3, 900))
        part = cut(data, 132_000, 158_400)  # frames 500 to 600
        sizes.append(loads(part)[1].shape[2])
        assert loads(part)[0].context == info.context
    assert sizes == [212, 212, 129, 116]
    with pytest.raises(BitstreamError, match="0 to 65535"):
        make_info().with_context(65_536, 0)
