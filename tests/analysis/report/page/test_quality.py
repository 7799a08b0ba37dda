import numpy as np

from ultraslow.analysis.growth import fit_totals
from ultraslow.analysis.report.page.quality import arm_quality, between


def test_the_worst_arm_comes_first_and_bad_values_are_counted(make):
    fine = {f"fine-{seed}": make(run=f"fine-{seed}", seed=seed, last=3000) for seed in range(2)}
    short = make(run="short", batch_size=256, records=[0, 1, 2])
    lost = make(run="lost", batch_size=1024, records=[0, 1, 2, 4, 8])
    lost["distance_sq"][3:] = np.nan
    lost["nonfinite_losses"] = "iteration", [0, 0, 1, 2, 0]
    runs = {**fine, "short": short, "lost": lost}
    found = arm_quality(fit_totals(runs), runs)
    by_size = {one.batch_size: one for one in found}
    assert [one.batch_size for one in found][-1] == 64
    assert by_size[64].sign in ("good", "fair", "poor")
    assert by_size[256].sign == "bad" and by_size[256].said.startswith("1 not fitted: ")
    assert by_size[1024].said.startswith("1 diverged")
    assert by_size[1024].bad == 2 + 3
    assert by_size[256].bad == by_size[64].bad == 0
    assert by_size[64].runs == 2
    assert by_size[64].iterations == (3000, 3000)
    assert by_size[64].records == 2 * fine["fine-0"].sizes["iteration"]


def test_a_range_of_one_number_is_that_number():
    assert between(1.2, 3.4) == "1–3"
    assert between(40, 40) == "40"
    assert between(0.5, 0.754, 2) == "0.50–0.75"
    assert between(np.nan, np.nan) == "–"


def test_arms_that_fail_alike_share_a_row(make):
    runs = {
        f"r{k}": make(run=f"r{k}", records=[0, 1, 2], base_learning_rate=0.1 * (k + 1))
        for k in range(3)
    }
    found = arm_quality(fit_totals(runs), runs)
    assert sum(one.runs for one in found) == 3
    assert len(found) == 1
