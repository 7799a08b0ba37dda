import json
import math
import re

import pytest

from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.noise.breakdown import ArmScale, arm_scales, noise_breakdown
from ultraslow.analysis.noise.scale import NoiseScale
from ultraslow.analysis.report import noise_table
from ultraslow.analysis.scores.critical_batch import CriticalBatch

BOUNDED = ArmScale(
    64, "", 3, NoiseScale(Interval(200.0, 160.0, 240.0, 20), "jackknife", 900), "below"
)
OPEN = ArmScale(
    1024,
    "linear",
    1,
    NoiseScale(Interval(9000.0, 512.0, math.inf, 5, reason="…"), "fieller", 90),
    "within",
)
FOUND = CriticalBatch(
    estimate=600.0,
    low=450.0,
    high=800.0,
    fewest_steps=200.0,
    target=0.5,
    steps={64: 2075.0, 1024: 317.0},
    seeds=4,
    status="ok",
    notes=("batch size <b>64</b> was not tuned",),
)


def words(html):
    return " ".join(re.sub("<[^>]+>", " ", html).split())


def test_the_table_sets_batch_sizes_beside_the_noise_scale():
    text = words(noise_table.by_batch_size([BOUNDED, OPEN]))
    assert "64 3 200 [160, 240] below it 3.12 [2.5, 3.75]" in text
    assert "1024, linear 1 9000 [512, ∞) within it 8.79 [0.5, ∞)" in text
    assert noise_table.by_batch_size([]) == ""


def test_rows_are_json():
    rows = json.loads(json.dumps(noise_table.rows([OPEN]), allow_nan=False))
    assert rows[0]["scale"]["high"] == "inf"
    assert rows[0]["crossover"][0] == pytest.approx(9000 / 1024)


def test_parts_and_losses_are_folded_behind_a_line(make):
    runs = {"a": make(last=2000, scale_invariant=[1, 1, 0])}
    html = in_parts(runs)
    assert in_parts(runs | {"copy": runs["a"]}) == html
    assert "Noise scale at batch size 64 by tensors and by part of the network and by loss" in html
    assert "scale-invariant tensors" in html and "linear" in html and "mean training loss" in html
    bare = make(gradient_sq=None, noise_trace=None, noise_updates=None)
    assert in_parts({"a": bare}) == ""
    single = make(last=2000, loss=None).isel(tensor=[0])
    assert in_parts({"a": single}) == ""


def in_parts(runs):
    return noise_table.in_parts(noise_breakdown(runs, arm_scales(runs)))


def test_json_holds_what_the_tables_show(make):
    runs = {"a": make(last=2000)}
    found = noise_breakdown(runs, arm_scales(runs))
    held = json.loads(json.dumps(noise_table.detail(found), allow_nan=False))
    assert held["batch_size"] == 64
    assert list(held["groups"]) == ["first tensor", "other tensors"]
    assert list(held["parts"]) == ["conv", "linear"]
    assert held["groups"]["first tensor"] == held["parts"]["conv"]
    assert (
        held["groups"]["first tensor"]["estimate"] == found.groups["first tensor"].interval.value
    )
    assert [row["loss"] for row in held["by_loss"]] == found.by_loss["loss"].values.tolist()
    assert [row["low"] for row in held["by_loss"]] == found.by_loss["low"].values.tolist()
    assert noise_table.detail(None) is None


def test_the_critical_batch_size_is_told_apart_from_the_noise_scale():
    html = noise_table.critical(FOUND)
    text = words(html)
    assert "Critical batch size 600 [450, 800], to loss 0.5, 4 seeds." in text
    assert "another quantity than the noise scale" in text
    assert "<b>64" not in html
    assert "64 2075 132,800" in text


def test_a_missing_critical_batch_size_takes_no_room():
    assert noise_table.critical(CriticalBatch(reason="no run recorded its loss")) == ""
