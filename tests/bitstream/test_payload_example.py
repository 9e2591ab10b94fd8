"""The specification's example of a payload is as it says, number by number."""

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
from helpers.code_tables import arrays, n_codes
from minimal_decoder import PayloadReader

from eulerodec.bitstream.code_tables import CodeTables
from eulerodec.bitstream.payload import PacketCodes, PayloadCoder

PAGE = (Path(__file__).parents[2] / "docs/bitstream.md").read_text(encoding="utf-8")
ROW = (
    r"^\| ?(\d?) \| (level|energy \d|latent \d)\S* ?\S* ?\S* \| (\d+) \| (\d+) \| (\d+)"
    r" \| `(\w{16})` \| `(\w{16})` \|$"
)
PAYLOAD = bytes.fromhex(re.findall(r"```planes\n(.*?)\n```", PAGE, re.DOTALL)[0])


def make_tables():
    mostly_0 = np.zeros(256, np.uint16)
    mostly_0[0] = 65280
    vectors = np.stack([np.zeros(256), -np.arange(256)], 1).astype(np.int16)
    return CodeTables(
        energy_mean=np.zeros(2, np.int16),
        energy_matrix=np.zeros((3, 2), np.int32),
        energy_books=np.stack([vectors, vectors]),
        energy_class=np.ones(256, np.uint8),
        energy_counts=np.full((2, 2, 256), 255, np.uint16),
        band_width=np.array([1], np.int32),
        loudness_power=np.array([2**20], np.int32),
        loudness_steps=np.array([2**20], np.int64),
        delay_slope=np.array([128], np.int32),
        latent_plane=np.array([[0, 1, 2], [1, 2, 3]], np.uint8),
        energy_plane=np.array([[1, 1, 2]], np.uint8),
        class_centres=np.zeros((1, 3), np.int16),
        latent_counts=np.tile(mostly_0, (2, 1, 1)),
    )


TABLES = make_tables()
CODER = PayloadCoder(TABLES)
CODES = PacketCodes(np.array([150]), np.array([[[40], [7]]]), np.array([[[0, 9], [3, 0]]]))


class Traced(PayloadReader):
    """Keeps what the table of the page shows of each symbol."""

    def _symbol(self, name, stage, context):
        code = super()._symbol(name, stage, context)
        kind = {"levels": "level", "energy_counts": f"energy {stage}"}.get(name, f"latent {stage}")
        start, stop = self.starts[name, stage, context][code : code + 2]
        low, width = self.ends[0].low, self.ends[0].width
        self.rows.append((kind, code, start, stop - start, low, width))
        return code


def test_the_payload_of_the_page():
    assert CODER.encode(CODES, 100) == PAYLOAD
    for got, given in zip(arrays(CODER.decode(PAYLOAD, 1, 2)), arrays(CODES), strict=True):
        np.testing.assert_array_equal(got, given)
    layout = CODER.layout(CODES)
    assert layout.bands.tolist() == [[[0], [-40]]] and layout.delays.tolist() == [[0, 1]]


def test_every_symbol_of_the_page():
    reader = Traced({f.name: getattr(TABLES, f.name).tolist() for f in fields(TABLES)})
    reader.rows = []
    reader.read(PAYLOAD, 1, 2)
    rows = re.findall(ROW, PAGE, re.MULTILINE)
    planes = [row[0] for row in rows if row[0]]
    assert planes == [str(plane) for plane in CODER.layout(CODES).order[:, 0]]
    numbers = [(r[1], *map(int, r[2:5]), int(r[5], 16), int(r[6], 16)) for r in rows]
    assert numbers == reader.rows and len(numbers) == 7


def test_what_each_beginning_tells():
    counts = re.findall(r"so many symbols come back: ([\d, ]+)\.", PAGE)[0].split(", ")
    found = [n_codes(CODER.decode(PAYLOAD[:n], 1, 2)) for n in range(len(PAYLOAD) + 1)]
    assert list(map(int, counts)) == found


def test_the_tensors_of_the_page():
    rows = re.findall(r"^\| `(\w+)` \| (u?int\d+) \[", PAGE, re.MULTILINE)
    assert [tuple(row) for row in rows] == [
        (f.name, str(getattr(TABLES, f.name).dtype)) for f in fields(TABLES)
    ]
