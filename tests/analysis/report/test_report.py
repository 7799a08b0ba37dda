import html.parser
import json
import re

import numpy as np
import pytest
import xarray as xr

from ultraslow.analysis import fit_growth, load
from ultraslow.analysis.report.report import report
from ultraslow.diffusion.predictions import PREDICTIONS
from ultraslow.diffusion.walks.recordings import recording, simulator
from ultraslow.diffusion.walks.simulators import Setup

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
    with pytest.warns(UserWarning, match="not used: "):
        runs = load(tmp_path / "runs")
    written = report(runs, tmp_path / "report.html")
    page = parsed(written.path)
    text = " ".join(page.text)
    assert page.tags.count("article") == len(PREDICTIONS)
    assert "Undecidable, by what is missing" in text
    # Too few records for a law, or for a noise scale against iterations.
    drawn = re.findall(r'<title id="([^"]+)-t"', written.path.read_text("utf-8"))
    kinds = [name.partition("-")[0] for name in drawn if not name.endswith("-narrow")]
    assert kinds == ["hero", "distance", "distance", "noise", "loss"]
    for expected in ("b256-s1", "bad.nc", "is not a NetCDF file", "P2", "batch size 256"):
        assert expected in text
    content = json.loads(written.numbers.read_text("utf-8"))
    assert [row["run"] for row in content["inputs"]] == ["b64-s0", "b64-s1", "b256-s0", "b256-s1"]
    assert all(re.fullmatch("[0-9a-f]{64}", row["sha256"]) for row in content["inputs"])
    assert len(content["fits"]) == len(content["noise_scale"]) == 4
    assert len(content["tensor_fits"]) == 12
    assert content["noise_detail"]["batch_size"] == 64
    assert "Noise scale at batch size 64 by tensors" in text
    assert content["unusable"][0]["source"].endswith("bad.nc")
    assert content["verdicts"][1]["verdict"] == str(written.verdicts["verdict"][0, 1].values)


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
        *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "nav"),
        *("h1", "h2", "h3", "h4", "h5", "p", "b", "div", "span", "article", "br", "figure", "a"),
        *("defs", "clippath", "g", "path", "use", "rect", "text", "tspan", "table", "thead"),
        *("tbody", "tr", "th", "td", "code", "details", "summary", "pre", "ul", "li", "ol"),
        *("svg", "desc", "circle", "dl", "dt", "dd", "figcaption", "script", "h6"),
        *("fieldset", "legend", "input", "label"),
    }
    assert page.tags.count("script") == 1
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


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page about eight runs of a growth law of exponent 0, with the runs themselves."""
    law = simulator("law", {"noise": 0.001})
    base = {"base_batch_size": 64, "base_learning_rate": 0.1, "scaling": "sqrt"}
    arms = [Setup(batch_size=size, seed=seed, **base) for size in (64, 1024) for seed in range(4)]
    packed = [recording(law, arm, 10_000, per_decade=8) for arm in arms]
    runs = {f"r{k}": xr.Dataset.from_dict(values) for k, values in enumerate(packed)}
    folder = tmp_path_factory.mktemp("page")
    return report(xr.DataTree.from_dict(runs), folder / "report.html"), runs


def test_a_page_from_real_fits_supports_what_is_true(written):
    found, _ = written
    text = " ".join(" ".join(parsed(found.path).text).split())
    for name, truth in (("P1", 0.0), ("P2", 1.0)):
        row = found.verdicts.sel(set="all runs", prediction=name)
        assert str(row["verdict"].values) == "supported"
        assert float(row["effect_low"]) < truth < float(row["effect_high"])
        assert str(row["reason"].values) in text  # in the evidence
    # The logarithm of t + 5: its last decade adds 1.02 times as much as the one before.
    answer = (
        r"Distance grows like log t : at batch size \d+ the last decade added 1\.0\d "
        r"\[1\.0\d, 1\.0\d\] times as much distance as the one before"
    )
    assert re.search(answer, re.sub(r"\s+:", " :", text).replace("log t:", "log t :"))
    assert found.path.stat().st_size < 300_000  # bytes; 128 kB when this was written
    assert found.numbers.stat().st_size < 50_000


def test_the_numbers_are_those_of_the_fits_themselves(written):
    found, runs = written
    rows = json.loads(found.numbers.read_text("utf-8"))["fits"]
    assert [row["node"] for row in rows] == list(runs)
    curves = [np.sqrt(run["distance_sq"].sum("tensor")) for run in runs.values()]
    times = {"iteration": curves[0]["iteration"].values}
    table = xr.DataArray([c.values for c in curves], times, ["node", "iteration"])
    # Simulated critical values take seconds a curve: one interval stands for all.
    own = fit_growth(table, calibrate=False)
    simulated = fit_growth(table[0])
    for name in ("exponent_low", "exponent_high", "detectable"):
        assert rows[0][name] == pytest.approx(float(simulated[name]), rel=1e-6, abs=1e-7), name
    for k, row in enumerate(rows):
        for name in ("exponent", "offset", "slope", "onset"):
            assert row[name] == pytest.approx(float(own[name][k]), rel=1e-6, abs=1e-7), name
        assert row["noise_model"] == str(own["noise_model"][k].values)
        assert (row["first"], row["last"]) == (1, 10_000)
        assert row["exponent_low"] < row["exponent"] < row["exponent_high"]


def test_figures_say_where_curves_end_and_which_law_they_follow(written):
    found, runs = written
    page = found.path.read_text("utf-8")
    end = float(np.sqrt(runs["r0"]["distance_sq"].sum("tensor").values[-1]))
    said = re.search(r'<desc id="hero-wide-d">([^<]*)</desc>', page)[1]
    told = re.search(r"M = 64 ends at ([\d.]+) after 10\u202f000 iterations, ([\d.]+) times", said)
    assert float(told[1]) == pytest.approx(end, rel=0.02)
    assert 1.0 < float(told[2]) < 1.3  # log(t + 5) begins a little slower than log t
    told = re.search(r'<desc id="distance-iteration[^>]*>([^<]*)</desc>', page)[1]
    exponents = re.search(r"fitted exponents (.*)\.$", told)[1].replace("−", "-").split(" to ")
    assert all(abs(float(one)) < 0.1 for one in exponents)


def test_no_recording_is_an_error_and_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="runs: found no recording"):
        report(xr.DataTree(), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["page.json", "run.nc"])
def test_a_page_may_not_have_the_name_of_its_numbers_or_of_a_recording(tree, make, tmp_path, name):
    with pytest.raises(ValueError, match="expected a page's name, such as report.html"):
        report(tree(make()), tmp_path / name)
    assert not list(tmp_path.iterdir())
