"""Tables as text: CSV and Markdown, written one way everywhere."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .files import PathLike, write_bytes

__all__ = ["csv_text", "markdown_table", "read_csv", "write_csv"]


def csv_text(
    rows: Iterable[Mapping[str, object]], columns: Sequence[str] = (), *, header: bool = True
) -> str:
    """Rows as CSV: floats with six digits, an empty cell for NaN and for what a row lacks.

    Args:
        rows: by column.
        columns: the ones to write, in order; by default all that occur.
        header: whether the first line names the columns.
    """
    rows = list(rows)
    columns = columns or list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    if header and columns:
        writer.writerow(columns)
    writer.writerows([_cell(row.get(name, "")) for name in columns] for row in rows)
    return text.getvalue()


def write_csv(
    path: PathLike, rows: Iterable[Mapping[str, object]], columns: Sequence[str] = ()
) -> None:
    """Write a file of :func:`csv_text`, whole or not at all."""
    write_bytes(path, csv_text(rows, columns).encode())


def read_csv(path: PathLike) -> list[dict[str, str]]:
    """Rows of a CSV file by column, as text."""
    return list(csv.DictReader(io.StringIO(Path(path).read_text(encoding="utf-8"), newline="")))


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lines of a Markdown table."""
    lines = (head, ["---"] * len(head), *rows)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)
