"""Published figures of codecs that cannot be run here. Nothing in this file was measured by us.

LibriTTS at 24 kHz, by third parties on the authors' released checkpoints.
"""

from __future__ import annotations

__all__ = ["COLUMNS", "NOTES", "ROWS"]

COLUMNS = (
    "system",
    "kbps",
    "test set",
    "PESQ-WB",
    "STOI",
    "ViSQOL",
    "mel distance",
    "UTMOS",
    "source",
)

#: (a) and (b) are two independent papers, see :data:`NOTES`.
ROWS: tuple[tuple[str, ...], ...] = (
    ("DAC 24 kHz, 8 books", "6", "test-clean", "3.522", "0.955", "", "", "3.691", "a"),
    ("DAC 24 kHz, 8 books", "6", "test-other", "3.343", "0.940", "", "", "3.134", "a"),
    ("DAC 24 kHz, 8 books", "6", "test-other", "3.329", "0.941", "4.485", "0.707", "3.133", "b"),
    ("EnCodec 24 kHz, 8 books", "6", "test-clean", "2.720", "0.939", "", "", "3.040", "a"),
    ("EnCodec 24 kHz, 8 books", "6", "test-other", "2.682", "0.924", "", "", "2.657", "a"),
    (
        "EnCodec 24 kHz, 8 books",
        "6",
        "test-other",
        "2.687",
        "0.925",
        "4.258",
        "0.987",
        "2.656",
        "b",
    ),
    ("EnCodec 24 kHz", "12", "train-clean-100, 8 clips", "3.490", "0.962", "", "", "", "c"),
    ("EnCodec 24 kHz", "6", "train-clean-100, 8 clips", "2.850", "0.937", "", "", "", "c"),
    ("DAC, 32 books", "24", "test-other", "4.424", "0.987", "4.914", "0.355", "3.469", "b"),
    ("EnCodec, 32 books", "24", "test-other", "3.591", "0.962", "4.536", "0.823", "3.195", "b"),
    ("WavTokenizer, 75 Hz", "0.9", "test-clean", "2.469", "0.919", "", "", "3.969", "a"),
    ("WavTokenizer, 75 Hz", "0.9", "test-other", "2.271", "0.917", "", "", "3.432", "a"),
    ("WavTokenizer, 75 Hz", "0.9", "test-other", "2.266", "0.891", "4.120", "0.871", "3.432", "b"),
)

NOTES = {
    "a": "SACodec, AAAI, table 1 (LibriTTS)",
    "b": "LatentLM, arXiv 2412.08635, table 5 (LibriTTS; mode of ViSQOL and scale of the mel"
    " distance may not be ours, compare within the column)",
    "c": "a project report on LibriSpeech at 16 kHz, EnCodec through resampling; 8 clips only",
}
