import io
import re

import numpy as np
import pytest
from rich.console import Console

from ultraslow.analysis.cli.live.condition import Readings
from ultraslow.analysis.cli.live.follow import Watched
from ultraslow.analysis.cli.live.screen import drawn, lines
from ultraslow.analysis.text import number

EVIL = "\x1b[31mred\x1b]0;title\x07 <script>alert(1)</script> [bold]x[/] \u202eabc\n\r{b} %s"


def seen(path, refine=True):
    readings = Readings()
    found = [readings.read(sight, 1e9) for sight in Watched([str(path)]).look()]
    return [readings.refine(one) for one in found] if refine else found


def shown(found, width=100, height=40):
    out = io.StringIO()
    console = Console(width=width, file=out, force_terminal=True, color_system="truecolor")
    console.print(drawn(found, 1e9, height=height, width=width))
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())  # colours of our own
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e]", text)
    assert max(map(len, text.split("\n"))) <= width
    return text


@pytest.mark.parametrize("width", [30, 40, 100])
def test_one_run_fits_any_width(save, width):
    text = shown(seen(save("r", exponent=0.3)), width)
    for label in ("iteration", "distance", "exponent", "decade ratio", "noise scale", "loss"):
        assert label in text
    assert "3000" in text


def test_what_stands_there_is_what_was_found(save):
    (one,) = seen(save("r", exponent=0.3))
    text = shown([one])
    assert f"{one.found.exponent.value:.3g}" in text
    assert f"{one.found.ratio.value:.3g}" in text
    (line,) = lines(one)
    assert line.startswith("r: closed, iteration 3000, distance ")
    assert "loss 0.00764, rate 0.01" in line


@pytest.mark.parametrize("width", [40, 80, 150])
def test_several_runs_fit_any_width(save, tmp_path, width):
    for seed in range(3):
        save(f"run-number-{seed}", tmp_path / "runs", seed=seed, records=range(12))
    text = shown(seen(tmp_path / "runs", refine=False), width)
    assert text.count("closed") == 3
    assert ("Not shown here: " in text) == (width < 150)


def test_an_exponent_never_stands_without_its_interval(save, tmp_path):
    for seed in range(2):
        save(f"r{seed}", tmp_path / "runs", seed=seed, exponent=0.3)
    found = seen(tmp_path / "runs")
    ends = [one.found.exponent.ends(number) for one in found]
    for width in (30, 40, 60):
        text = shown(found, width)
        assert all(end in text for end in ends)


def test_many_runs_leave_room_for_those_that_live(save, writer, tmp_path):
    for seed in range(12):
        save(f"r{seed}", tmp_path / "runs", seed=seed, records=range(12))
    writer("runs/zz").lease().put(0, 20)
    text = shown(seen(tmp_path / "runs", refine=False), 200, height=12)
    assert "zz" in text
    assert "7 more runs, 7 closed" in text


def test_names_and_texts_of_strangers_are_text(make, writer, dead):
    live = writer("odd")
    live.run = make(run=EVIL, last=1000)
    live.run.attrs["events"] = '[[3, "\\u001b[2J\\u202e <b>"]]'
    live.lease(machine="other", host="\x1b[2Jhost").put(0, 40)
    (one,) = seen(live.folder)
    for text in (shown([one]), shown([one, one], 200), "\n".join(lines(one))):
        assert "[31mred" in text
        assert "\x1b" not in text
    assert "<script>" in shown([one])
    live.run = make(run="x" * 200, last=1000)
    live.put(0, 40)
    assert "xxx…xxx" in shown(seen(live.folder))


def test_one_record_no_loss_and_numbers_that_are_none(save):
    one = shown(seen(save("one", records=[0])))
    assert "none: " in one
    assert "not known" in one
    bare = seen(save("bare", loss=None, gradient_sq=None, noise_trace=None, noise_updates=None))
    assert "no gradient noise was recorded" in shown(bare)
    assert "loss           –" in shown(bare)
    lost = seen(
        save("nan", records=range(9), loss=np.full(9, np.nan), distance_sq=np.full((9, 3), np.nan))
    )
    assert "the run has diverged" in shown(lost)
