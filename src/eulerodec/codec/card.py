"""The model card beside weights, with the metadata that a hub of models reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["model_card"]

_METADATA = """\
---
library_name: eulerodec
pipeline_tag: audio-to-audio
tags:
- audio
- audio-codec
- neural-audio-codec
- speech
{licence}---
"""
_TEXT = """
# {name}

Weights of EuleroDec, a complex-valued neural audio codec. In Python, with the name of this
repository or directory:

```python
from eulerodec import Codec

codec = Codec.from_pretrained(NAME)
```
"""


def model_card(text: str, name: str, about: Mapping[str, Any]) -> str:
    """A card that begins with metadata.

    Args:
        text: the card as it is, with or without metadata; empty if there is none.
        name: of the weights.
        about: what is known of them; the metadata have its ``licence``, if it is an identifier
            (``"CC-BY-4.0"``). No other is guessed.

    Returns:
        ``text`` itself if it has metadata, else metadata and ``text``, or a few lines in its place.
    """
    if text.startswith("---\n"):
        return text
    licence = about.get("licence")
    line = ""
    if isinstance(licence, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", licence):
        line = f"license: {json.dumps(licence.lower())}\n"
    return _METADATA.format(licence=line) + (f"\n{text}" if text else _TEXT.format(name=name))
