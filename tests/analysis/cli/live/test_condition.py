import math
import time

import numpy as np
import pytest
from rich.console import Console

import ultraslow as us
from ultraslow.analysis.cli.live.condition import Readings
from ultraslow.analysis.cli.live.follow import Followed, Watched
from ultraslow.analysis.cli.live.screen import drawn
from ultraslow.analysis.growth import fit_totals
from ultraslow.analysis.runs import runs_of
from ultraslow.diffusion.recording import log_spaced


def known(path, now=0.0):
    (sight,) = Watched([str(path)]).look()
    readings = Readings()
    return readings.refine(readings.read(sight, now))


def test_estimates_are_those_of_the_commands(save):
    """`ultraslow fit` and `ultraslow noise`, which read all tensors."""
    path = save("r", exponent=0.3, noise=0.01)
    found = known(path).found
    runs = runs_of(us.load(path))
    fit = fit_totals(runs).isel(node=0)
    for name, interval in (("exponent", found.exponent), ("decade_ratio", found.ratio)):
        for end, value in (("", interval.value), ("_low", interval.low), ("_high", interval.high)):
            assert value == pytest.approx(float(fit[name + end]), rel=1e-9)
    assert (found.status, found.last) == (fit["status"].item(), 3000)
    noise = us.run_noise_scale(runs["r"])
    assert found.noise.interval.low == pytest.approx(noise.interval.low, rel=1e-9)
    assert found.at == 3000


def test_the_newest_numbers(save, make):
    one = known(save("r", seed=2))
    run = make(run="r", seed=2)
    assert one.iteration == 3000
    assert one.distance == pytest.approx(float(run["distance_sq"][-1].sum()) ** 0.5)
    assert one.newest("loss") == float(run["loss"][-1])
    assert math.isnan(one.newest("wall_time"))


def test_estimates_of_earlier_records_are_told_to_be(writer):
    live = writer().lease()
    live.put(0, 60)
    readings, followed = Readings(), Followed(live.folder)
    first = readings.refine(readings.read(followed.look(), 0.0))
    assert not first.stale
    live.put(60, 70)
    second = readings.read(followed.look(), 0.0)
    assert second.stale
    assert second.found is first.found
    assert not readings.refine(second).stale


def test_alarms(writer, dead):
    live = writer(records=[*range(20), 25, 30], wall_time=np.arange(22.0))
    live.run["distance_sq"][-3:] = np.nan
    live.run.attrs["gaps"] = "[[5, 9]]"
    live.lease(pid=dead)
    live.put(0, 22)
    told = "\n".join(known(live.folder).alarms)
    assert (
        f"killed: process {dead} is gone; up to 26 updates of its last 5 s" in told
    )  # of 0.2 s each
    assert "no finite distance after iteration 18 of 30" in told
    assert "no records after iteration 5 and before 9" in told


def test_a_record_that_does_not_come_is_an_alarm(writer):
    live = writer(records=log_spaced(1000), wall_time=log_spaced(1000) / 10)
    live.lease().put(0, 60)
    (sight,) = Watched([str(live.folder)]).look()
    soon, late = (Readings().read(sight, sight.written + wait) for wait in (1.0, 7200.0))
    assert soon.alarms == ()
    assert f"the record of iteration {late.due.iteration} is overdue since" in late.alarms[0]
    closed = Readings().read(next(Watched([str(live.close())]).look()), sight.written + 7200)
    assert closed.alarms == ()


def test_a_refresh_of_ten_thousand_records_takes_little(writer):
    """A hundred segments have been read; one more comes."""
    count = 10_000
    live = writer(records=np.arange(0, (count + 5) * 7, 7)).lease()
    for start in range(0, count, 1000):
        live.put(start, start + 1000)
    watched, readings = Watched([str(live.folder)]), Readings()
    for sight in watched.look():
        readings.refine(readings.read(sight, time.time()))
    live.put(count, count + 5)
    with open("/dev/null", "w") as nowhere:
        console = Console(width=120, force_terminal=True, file=nowhere)
        began = time.process_time()
        found = [readings.read(sight, time.time()) for sight in watched.look()]
        console.print(drawn(found, time.time(), height=40, width=120))
        spent = time.process_time() - began
    assert found[0].iteration == (count + 4) * 7
    assert spent < 0.2
