"""CSV and Markdown, against the standard library's reader."""

import csv
import io
import math

from eulerodec.tabular import csv_text, markdown_table, read_csv, write_csv


def test_csv_reads_back_with_an_independent_reader():
    rows = [{"name": 'a "b", c', "value": 1 / 3}, {"name": "é\nf", "other": math.nan, "value": 2}]
    back = list(csv.DictReader(io.StringIO(csv_text(rows), newline="")))
    assert back == [
        {"name": 'a "b", c', "value": "0.333333", "other": ""},
        {"name": "é\nf", "value": "2", "other": ""},
    ]


def test_columns_are_the_ones_asked_for_and_a_line_may_be_added():
    row = {"a": 1, "b": 2}
    assert csv_text([row], ["b", "c"]) == "b,c\n2,\n"
    assert csv_text([row], ["b", "c"], header=False) == "2,\n"
    assert csv_text([]) == ""


def test_a_file(tmp_path):
    write_csv(tmp_path / "a.csv", [{"x": "1"}, {"y": "2"}])
    assert read_csv(tmp_path / "a.csv") == [{"x": "1", "y": ""}, {"x": "", "y": "2"}]


def test_markdown():
    assert markdown_table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
