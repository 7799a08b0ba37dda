import json

import numpy as np
import pytest

from ultraslow.analysis.report.absent import absences, happened

ONE_UNIT = "every update had one unit"


def test_what_all_lack_is_told_with_the_remedy(make):
    runs = {f"s{seed}": make(run=f"s{seed}", seed=seed, last=8) for seed in range(2)}
    assert absences(runs) == (
        "no data_size in all 2 (for P6, H-a, H-b): ultraslow label RUN data_size=…",
        "no held_out in all 2 (for P3, H-a, H-c): us.attach records it with evaluation=",
        "no loss_difference in all 2 (for P1', P4, P10): us.attach records it with landscape=",
        "no line_loss in all 2 (for P7): us.attach records it with landscape=",
        "no sketch in all 2 (for P8): us.attach records it with 'trajectory' among probes",
        "no step_sq in all 2 (for P9): us.attach records it with 'path' among probes",
    )


def test_what_some_lack_is_told_with_their_names_and_their_own_reason(make):
    whole, bare = make(run="whole", last=8, data_size=99), make(run="bare", last=8, data_size=99)
    bare = bare.drop_vars(["gradient_sq", "noise_trace", "noise_updates", "seed", "scaling"])
    bare = bare.assign_attrs(noise_absent=f"{ONE_UNIT}\x1b[31m")
    found = absences({"whole": whole, "bare": bare})
    assert f"no noise_trace in 1 recording, bare (for P7, P10): {ONE_UNIT}�[31m" in found
    assert "no seed in 1 recording, bare (for P5, P6): ultraslow label RUN seed=…" in found
    assert any(
        line.startswith("no scaling in 1 recording, bare (for P2, P2', H-b)") for line in found
    )
    assert not any("data_size" in line for line in found)


def test_reasons_about_a_part_of_a_run_are_told(make):
    told = "in later updates: the noise probe failed and was switched off: ZeroDivisionError()"
    run = make(run="a", last=8).assign_attrs(noise_absent=told)
    assert f"a: noise_trace is missing {told}" in absences({"a": run})


def test_updates_that_the_noise_leaves_out_are_counted(make):
    run = make(run="a", last=8)
    left_out = np.zeros(run.sizes["iteration"], dtype=int)
    run = run.assign(noise_left_out=("iteration", left_out))
    assert not any("leaves out" in line for line in absences({"a": run}))
    left_out[-2:] = 1, 2
    run = run.assign(noise_left_out=("iteration", left_out))
    assert any("a: the noise leaves out 3 of 8 updates" in line for line in absences({"a": run}))


@pytest.mark.parametrize("several", [True, False])
def test_all_recordings_are_told_as_such(make, several):
    runs = [make(run="a", last=8), *([make(run="b", seed=1, last=8)] if several else [])]
    told = absences({str(run["run"].values): run for run in runs})
    which = "all 2" if several else "this recording"
    assert any(line.startswith(f"no data_size in {which} (for P6, H-a, H-b)") for line in told)


@pytest.mark.parametrize(
    ("gaps", "told"),
    [
        ([[40, 80]], "after iteration 40 and before 80"),
        ([[-1, 80]], "before iteration 80"),
        ([[40, None]], "after iteration 40"),
    ],
)
def test_holes_of_a_recording_are_told(make, gaps, told):
    run = make(run="a", last=8).assign_attrs(gaps=json.dumps(gaps))
    assert happened({"a": run}) == (f"a: no records {told}, they were lost",)


@pytest.mark.parametrize("text", ["", "[", "7", "[7]", '["ab"]', "[" * 10**5, '[["a", 1]]', "{}"])
def test_what_is_no_list_of_holes_is_none(make, text):
    assert happened({"a": make(run="a", last=8).assign_attrs(gaps=text)}) == ()


def test_events_of_a_later_version_are_named_and_not_shown(make):
    later = {"events": '{"form": "another"}', "events_schema": 2}
    assert happened({"a": make(run="a", last=8).assign_attrs(later)}) == (
        "a: found events of version 2, which a later version of this program wrote, expected 1 or "
        "less; they are not shown",
    )
