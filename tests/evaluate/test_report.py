"""The command end to end, and its report: in itself, and in a real browser."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

from eulerodec import audio
from eulerodec.cli import main
from eulerodec.evaluate.evaluation import evaluate
from eulerodec.metrics import METRICS
from eulerodec.samples import SAMPLE
from eulerodec.tabular import read_csv

RATE = 24_000
METRIC_NAMES = "si_sdr,pc,ip_rad,gdd_ms,log_mel,pesq_wb"


class Page(HTMLParser):
    """Elements of a page that can load something, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def out(tmp_path_factory, weights) -> Path:
    """Two sets, three clips, two own systems, the reference, and two that are absent."""
    root = tmp_path_factory.mktemp("evaluate")
    wav = audio.read(SAMPLE)[0][0]
    for i, name in enumerate(("one/a.wav", "one/b.wav", "two/<c>&.wav")):
        (root / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        audio.write(root / "clips" / name, wav[(1 + i) * RATE : (2 + i) * RATE], RATE)
    evaluate(
        root / "clips",
        f"reference,low={weights}:3,high={weights}:9,lyra:6",
        root / "out",
        metric_names=METRIC_NAMES.split(","),
        in_domain=["two"],
        listen=2,
        markdown=root / "out/results.md",
    )
    return root / "out"


@pytest.fixture(scope="module")
def html(out) -> str:
    return (out / "report.html").read_text(encoding="utf-8")


def test_the_table_has_every_clip_and_system(out):
    rows = read_csv(out / "results.csv")
    assert len(rows) == 9 and {r["system"] for r in rows} == {"reference", "low:3", "high:9"}
    assert all(r["errors"] == "" for r in rows)
    for row in rows:
        if row["system"] != "reference":
            assert float(row["kbps"]) == pytest.approx(int(row["system"].split(":")[1]), rel=0.1)


def test_the_summary_compares_with_the_first_codec(out):
    rows = read_csv(out / "summary.csv")
    assert {r["group"] for r in rows} == {
        "all", "in-domain", "out-of-domain", "set: one", "set: two"
    }  # fmt: skip
    assert {r["baseline"] for r in rows} == {"low:3"}
    table = {(r["clip"], r["system"]): r for r in read_csv(out / "results.csv")}
    clips = {clip for clip, _ in table}
    gaps = [float(table[c, "high:9"]["pc"]) - float(table[c, "low:3"]["pc"]) for c in clips]
    stat = next(
        r for r in rows if (r["group"], r["system"], r["metric"]) == ("all", "high:9", "pc")
    )
    assert float(stat["diff"]) == pytest.approx(np.mean(gaps), abs=1e-5)
    assert float(stat["diff_low"]) <= float(stat["diff"]) <= float(stat["diff_high"])


def test_the_report_needs_nothing_else(html):
    page = Page(html)
    for tag, attributes in page.found:
        for name in ("src", "href", "xlink:href", "data", "srcset"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:")), (tag, value[:80])
    assert not page.all("script") and not page.all("link") and not page.all("iframe")
    page_without_text = re.sub(r"data:[^\"]+", "", html)
    outside = set(re.findall(r"https?://[^\"'<> ]+", page_without_text))
    # names of XML namespaces are not loaded
    names = ("w3.org", "purl.org", "matplotlib", "creativecommons.org/ns")
    assert all(any(n in url for n in names) for url in outside), outside
    assert "@import" not in html and "url(http" not in html


def test_the_report_has_players_pictures_and_plots(html):
    page = Page(html)
    assert len(page.all("audio")) == 2 * 3  # two clips; original and two codecs
    assert len(page.all("img")) == 2 * 3
    assert len(page.all("svg")) == 2
    for attributes in page.all("audio"):
        assert "controls" in attributes and attributes["aria-label"]
        data = base64.b64decode(attributes["src"].split("base64,")[1])
        x, rate = soundfile.read(io.BytesIO(data))
        assert rate == RATE and x.shape == (RATE,) and np.abs(x).max() > 0.01
    first = page.all("audio")[0]["src"].split("base64,")[1]
    x, _ = soundfile.read(io.BytesIO(base64.b64decode(first)), dtype="float32")
    assert np.allclose(x, audio.read(SAMPLE)[0][0, RATE : 2 * RATE], atol=1e-4)


def test_the_report_says_what_is_not_there(html, out):
    page = Page(html)
    assert "lyra:6 is absent: no folder of Lyra's models" in page.text
    assert "Published, not measured here" in page.text and "3.343" in page.text
    for words in ("soxr", "seed", "level of references", "low:3", "phase coherence", "0.5 ms"):
        assert words in page.text
    facts = json.loads((out / "run.json").read_text())
    assert facts["absent"].keys() == {"lyra:6"}
    assert facts["method"]["versions"]["numpy"] == np.__version__
    assert "two: two/<c>&.wav" in page.text and "<c>" not in html  # names are escaped


def test_the_markdown_has_the_means(out):
    text = (out / "results.md").read_text(encoding="utf-8")
    rows = read_csv(out / "results.csv")
    pc = [float(r["pc"]) for r in rows if r["system"] == "high:9"]
    line = next(x for x in text.splitlines() if x.startswith("| high:9 "))
    cells = [c.strip() for c in line.strip("|").split("|")]
    head = next(x for x in text.splitlines() if x.startswith("| system "))
    names = [c.strip() for c in head.strip("|").split("|")]
    assert cells[names.index("phase coherence ↑")] == f"{np.mean(pc):.3f}"
    assert "## in-domain (1 clips)" in text and "## set: one (2 clips)" in text
    assert "lyra:6 is absent" in text


def test_failures_are_counted_and_named(tmp_path, weights):
    pytest.importorskip("pystoi")
    audio.write(tmp_path / "blip.wav", audio.read(SAMPLE)[0][0, RATE : RATE + 2400], RATE)
    result = evaluate(
        tmp_path / "blip.wav", f"w={weights}:6", tmp_path / "o", metric_names=["stoi", "si_sdr"]
    )
    assert result.failures == 1
    text = Page(result.report.read_text()).text
    assert "1 values could not be measured" in text and "Not enough STFT frames" in text
    assert "blip.wav" in text


def test_missing_metrics_are_listed(tmp_path, weights, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    said: list[str] = []
    clip = tmp_path / "a.wav"
    audio.write(clip, audio.read(SAMPLE)[0][0, RATE : 2 * RATE], RATE)
    result = evaluate(
        clip,
        f"w={weights}:6",
        tmp_path / "o",
        metric_names=["pesq_wb", "pc"],
        listen=0,
        note=said.append,
    )
    assert result.missing == {"pesq_wb": "not installed: pesq"}
    assert "PESQ-WB is missing: not installed: pesq" in Page(result.report.read_text()).text
    assert said == ["metric pesq_wb is not installed: pesq"]


def test_the_command(tmp_path, weights, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    audio.write("a.wav", audio.read(SAMPLE)[0][0, RATE : 2 * RATE], RATE)
    line = ["evaluate", "a.wav", "--systems", f"w={weights}:6", "--out", "o", "--jobs", "1"]
    assert main([*line, "--metrics", "si_sdr,lsd"]) == 0
    assert "1 rows (1 new), 0 values failed, 0 systems absent" in capsys.readouterr().out
    assert main([*line, "--metrics", "si_sdr,lsd"]) == 0
    assert "1 rows (0 new)" in capsys.readouterr().out
    for wrong, words in (
        (["--metrics", "loudness"], "no metric 'loudness'"),
        (["--baseline", "x:1"], "not among --systems"),
        (["--in-domain", "nobody"], "no set 'nobody'"),
    ):
        assert main([*line, *wrong]) == 2
        assert words in capsys.readouterr().err


def test_plotted_metrics_exist():
    from eulerodec.evaluate.report import BAR_PLOTS, RATE_PLOTS

    assert {*RATE_PLOTS, *BAR_PLOTS} <= METRICS.keys()


PROBE = """<script>
addEventListener("load", async () => {
  const sounds = [...document.querySelectorAll("audio")];
  const ready = a => new Promise(done => {
    if (a.readyState > 0) done(a.duration);
    a.onloadedmetadata = () => done(a.duration); a.onerror = () => done(-1);
  });
  const lasts = await Promise.all(sounds.map(ready));
  const images = [...document.images].map(i => i.naturalWidth);
  const plots = [...document.querySelectorAll("svg")].map(s => s.getBoundingClientRect().height);
  const wide = document.documentElement.scrollWidth - innerWidth;
  document.body.insertAdjacentHTML("beforeend",
    "<pre id=probe>" + JSON.stringify({lasts, images, plots, wide}) + "</pre>");
});
</script>"""


def browser() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        path = shutil.which(name)
        if path:
            return path
    pytest.skip("no Chromium to look at the report with (apt-get install chromium)")


def headless(folder: Path, *arguments: str) -> str:
    command = [
        browser(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}", "--window-size=1250,3600",
        "--virtual-time-budget=20000", *arguments,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=120, check=True, text=True)
    return done.stdout


def test_a_browser_plays_and_shows_everything(html, tmp_path):
    probe = tmp_path / "probe.html"
    probe.write_text(html.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    dom = headless(tmp_path, "--dump-dom", probe.as_uri())
    result = re.search(r'<pre id="probe">(.*?)</pre>', dom)
    assert result, "the page did not finish loading"
    seen = json.loads(result[1])
    assert seen["lasts"] == pytest.approx([1.0] * 6, abs=0.05)  # seconds of every player
    assert len(seen["images"]) == 6 and min(seen["images"]) > 300
    assert len(seen["plots"]) == 2 and min(seen["plots"]) > 200
    assert seen["wide"] <= 0  # nothing sticks out to the right


def test_a_screenshot_shows_plots_and_pictures(out, tmp_path):
    Image = pytest.importorskip("PIL.Image")
    shot = tmp_path / "shot.png"
    headless(tmp_path, f"--screenshot={shot}", (out / "report.html").as_uri())
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    assert pixels.shape[:2] == (3600, 1250)

    def near(colour):
        return np.abs(pixels - colour).max(-1) < 12

    def rows_of(mask):
        return np.flatnonzero(mask.any(1))

    plot = rows_of(near((0xD5, 0x5E, 0x00)))  # first colour of the plots
    purple = near((68, 1, 84))  # no phase error, in viridis
    assert len(plot) > 20 and purple.sum() > 300
    assert rows_of(purple).min() < plot.max()  # players come first
    magma = near((183, 55, 121))  # the middle of magma: spectrograms
    assert magma.sum() > 100
