"""Published figures of codecs that cannot be run here. Nothing in ``published.csv`` was measured by
us.

LibriTTS at 24 kHz, by third parties on the authors' released checkpoints.
"""

from __future__ import annotations

from pathlib import Path

from ..tabular import read_csv

__all__ = ["COLUMNS", "NOTES", "ROWS"]

#: Rows of text by column; no value is empty text.
ROWS = read_csv(Path(__file__).with_suffix(".csv"))
COLUMNS = tuple(ROWS[0])

#: What the letters of the column ``source`` stand for; (a) and (b) are two independent papers.
NOTES = {
    "a": "SACodec, AAAI, table 1 (LibriTTS)",
    "b": "LatentLM, arXiv 2412.08635, table 5 (LibriTTS; mode of ViSQOL and scale of the mel"
    " distance may not be ours, compare within the column)",
    "c": "a project report on LibriSpeech at 16 kHz, EnCodec through resampling; 8 clips only",
}
