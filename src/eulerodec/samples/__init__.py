"""The bundled clip of speech; where it is from: README.md beside it."""

from pathlib import Path

__all__ = ["SAMPLE"]

SAMPLE = Path(__file__).parent / "speech.flac"
