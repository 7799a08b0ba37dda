import html.parser
import json
import re

import numpy as np
import pytest

from analysis import load
from analysis.page import report

HOSTILE = [
    "<script>alert(1)</script>",
    '"onmouseover="alert(1)',
    "'><img src=x onerror=alert(1)>",
    "&lt;b&gt; $x_1^2$ ${title} %s {0}",
    "x" * 500,
    "дистанция-距離-\u202egnp.exe\x1b[31m",
    "]]></svg></style></main>",
]


class Elements(html.parser.HTMLParser):
    """Collects tags, attributes and text of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text.append(data)


def parsed(path):
    elements = Elements()
    elements.feed(path.read_text("utf-8"))
    return elements


# Too few records for fits, which take seconds: what these tests look at does not depend on them.
SHORT = {"records": [0, 1, 2, 4, 8]}


def test_the_page_holds_verdicts_figures_and_runs(save, tmp_path):
    for size in (64, 256):
        for seed in range(2):
            save(f"b{size}-s{seed}", tmp_path / "runs", batch_size=size, seed=seed, **SHORT)
    (tmp_path / "runs" / "bad.nc").write_text("no recording")
    written = report(load(tmp_path / "runs"), tmp_path / "report.html")
    page = parsed(written.path)
    text = " ".join(page.text)
    assert page.tags.count("article") == 2
    # Two distances, overlay, ratio, two dot plots, loss; too few windows for a noise scale.
    assert page.tags.count("svg") == 7
    for expected in ("b256-s1", "bad.nc", "is not a NetCDF file", "P2", "batch size 256"):
        assert expected in text
    content = json.loads(written.numbers.read_text("utf-8"))
    assert [row["run"] for row in content["inputs"]] == ["b64-s0", "b64-s1", "b256-s0", "b256-s1"]
    assert all(re.fullmatch("[0-9a-f]{64}", row["sha256"]) for row in content["inputs"])
    assert len(content["fits"]) == len(content["noise_scale"]) == 4
    assert len(content["tensor_fits"]) == 12
    assert content["unusable"][0]["source"].endswith("bad.nc")
    assert content["verdicts"][1]["verdict"] == str(written.verdicts["verdict"][1].values)


def test_names_from_files_do_no_harm(make, tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()
    for k, name in enumerate(HOSTILE):
        tensors = [f"{name[:400]}{j}" for j in range(3)]
        run = make(run=name, seed=k, model=name, tensor=tensors, **SHORT)
        run.attrs["config"] = json.dumps({"note": name})
        run.attrs["note"] = name
        run.to_netcdf(folder / f"{k}.nc")
    written = report(load(folder), tmp_path / "report.html")
    page = parsed(written.path)
    assert set(page.tags) <= {
        *("html", "head", "meta", "title", "style", "body", "main", "header", "section"),
        *("h1", "h2", "p", "b", "div", "span", "article", "br", "figure", "figcaption", "svg"),
        *("defs", "clippath", "g", "path", "use", "rect", "text", "tspan", "table", "thead"),
        *("tbody", "tr", "th", "td", "code", "details", "summary", "pre", "ul", "li"),
    }
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "src"]
    links = [value for name, value in page.attributes if name in ("href", "xlink:href")]
    assert all(value.startswith("#") for value in links)
    text = written.path.read_text("utf-8")
    assert "default-src 'none'" in text
    assert not set(text) & {"\u202e", "\x1b"}
    assert max(map(len, "".join(page.text).split())) < 4096
    names = [row["run"] for row in json.loads(written.numbers.read_text("utf-8"))["inputs"]]
    assert sorted(names) == sorted(HOSTILE)


@pytest.mark.parametrize(
    "options",
    [
        {"records": [0, 1]},
        {"records": [5]},
        {"records": [0, 1], "learning_rate": None, "loss": None},
        {"records": [0, 1], "gradient_sq": None, "noise_trace": None, "noise_updates": None},
        {"records": [0, 1, 2], "loss": np.full(3, np.nan)},
    ],
)
def test_one_poor_run_still_makes_a_page(make, tree, tmp_path, options):
    run = make(**options)
    written = report(tree(run), tmp_path / "report.html")
    assert "undecidable" in written.path.read_text("utf-8")
    rows = json.loads(written.numbers.read_text("utf-8"))["fits"]
    assert rows[0]["status"]


def test_nothing_is_left_behind_when_the_page_cannot_be_written(make, tree, tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match=r"report\.html"):
        report(tree(make(records=[0, 1])), tmp_path / "report.html")
    assert not list(tmp_path.glob(".*.tmp"))
