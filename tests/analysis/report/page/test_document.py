import json
import re
from dataclasses import replace

import numpy as np
import pytest
from markupsafe import Markup

from ultraslow.analysis.growth.runs import fit_tensors
from ultraslow.analysis.intervals import Interval
from ultraslow.analysis.noise.breakdown import arm_scales, noise_breakdown
from ultraslow.analysis.predictions.table import verdicts_on
from ultraslow.analysis.report import data, figures
from ultraslow.analysis.report.numbers import inputs, verdict_rows
from ultraslow.analysis.report.page import document, measures, motion
from ultraslow.analysis.report.page.document import whole_page
from ultraslow.analysis.report.page.findings import Findings
from ultraslow.analysis.runs.arms import LadderPlace
from ultraslow.analysis.scores.critical_batch import CriticalBatch
from ultraslow.analysis.scores.ladder import Ladder, Rung, ladders
from ultraslow.analysis.study import Study
from ultraslow.diffusion.recording.schedule import log_spaced

FEW = [0, 1, 2, 4, 8]
ABSENT = {"loss": None, "gradient_sq": None, "noise_trace": None, "noise_updates": None}


def findings(runs, *, level=0.95):
    """What the page is made of, as `report` gathers it."""
    study = Study(runs, level)
    return Findings(
        study=study,
        verdicts=verdicts_on(study),
        tensor_fits=fit_tensors(runs, intervals=False),
        tensors=data.largest_tensors(runs),
        colours=figures.palette(list(study.batch_sizes)),
    )


def content(found, tree, **options):
    return {
        "created": "2026-01-02T03:04:05+00:00",
        "versions": {"ultraslow": "1.2"},
        "inputs": inputs(tree(*found.study.runs.values())),
        "unusable": [],
        "verdicts": verdict_rows(found.verdicts),
        **options,
    }


def sweep(make, sizes, seeds, **options):
    options = {"records": FEW, **options}
    return {
        f"b{size}-s{seed}": make(run=f"b{size}-s{seed}", batch_size=size, seed=seed, **options)
        for size in sizes
        for seed in range(seeds)
    }


def words(page):
    text = re.sub(r"<(style|script|svg)\b.*?</\1>", " ", page, flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def headings(page):
    return re.findall(r"<h2[^>]*><a[^>]*>(.*?)</a></h2>", page)


def figures_of(page):
    named = re.findall(r'<svg[^>]* aria-labelledby="([^ "]+)', page)
    return sum(not name.endswith("-narrow-t") for name in named)


def test_one_run_has_no_figures_that_compare(make, tree):
    found = findings(sweep(make, [64], 1))
    page = whole_page(found, content(found, tree))
    assert headings(page) == [
        "Predictions",
        "Distance and fitted laws",
        "Training loss",
        "The laws behind the claims",
        "Data quality",
        "Provenance",
    ]
    assert figures_of(page) == 3  # first picture, distance, loss
    text = words(page)
    assert "1 run · resnet8 on digits" in text
    assert "other batch sizes" not in re.sub("(?s)<article.*?</article>", "", page)
    assert "thinned. No law could be fitted" in text


def test_many_runs_share_the_figures(make, tree):
    found = findings(sweep(make, [64, 256, 1024], 2))
    page = whole_page(found, content(found, tree))
    assert figures_of(page) == 5  # first picture, three distances, loss
    text = words(page)
    assert "6 runs" in text
    assert "All 6 recordings with their hashes" in text
    assert "Paths and attributes of 6 runs Shared by all" in text


def test_what_was_not_recorded_has_no_section(make, tree):
    found = findings(sweep(make, [64], 1, **ABSENT))
    page = whole_page(found, content(found, tree))
    assert headings(page) == [
        "Predictions",
        "Distance and fitted laws",
        "The laws behind the claims",
        "Data quality",
        "Provenance",
    ]


def test_fits_on_the_summed_rate_stand_beside_their_picture(make, tree):
    records = np.append(0, np.unique(np.geomspace(1, 3000, 60).astype(int)))
    summed = 0.2 * np.sqrt(records.astype(float))
    changing = {
        "records": records,
        "learning_rate": 0.1 / np.sqrt(np.maximum(records, 1)),
        "learning_rate_sum": summed,
        "distance_sq": np.outer(np.log(summed + 1.0) ** 2, [0.6, 0.3, 0.1]),
    }
    found = findings(sweep(make, [64, 32768], 1, **changing))
    page = whole_page(found, content(found, tree))
    text = words(page)
    assert "Runs whose learning rate changes, against the summed rate Ση" in text
    assert "No prediction takes these." in text
    assert "exponent p on Ση</text>" in page
    assert "exponent p</text>" not in page
    assert len(re.findall(r'id="distance-learning-rate-sum-[^"]*-t"', page)) == 2
    assert "32,768" in text or "32 768" in text

    steady = sweep(make, [64], 1, records=None)
    found = findings(steady | sweep(make, [256], 1, **changing))
    page = whole_page(found, content(found, tree))
    assert "exponent p on Ση</text>" in page and "exponent p</text>" in page


def test_noise_has_a_panel_for_each_batch_size(make, tree):
    found = findings(sweep(make, [64, 256], 1))
    # The same runs with records enough for a noise scale.
    found = replace(found, study=Study(sweep(make, [64, 256], 1, records=np.arange(40))))
    page = whole_page(found, content(found, tree))
    assert "Gradient noise scale" in headings(page)
    assert {f"noise-{rank}-t" for rank in (0, 1)} <= set(re.findall(r'id="([^"]+)"', page))


def test_unusable_paths_are_named_with_their_faults(make, tree):
    found = findings(sweep(make, [64], 1))
    bad = [{"source": "bad.nc", "faults": ["has zero bytes"]}]
    page = whole_page(found, content(found, tree, unusable=bad))
    assert "Not used bad.nc has zero bytes" in words(page)


HOSTILE = "<script>alert(1)</script>\x1b[31m"


@pytest.mark.parametrize("count", [1, 9])
def test_events_are_shown_and_folded_where_they_are_many(make, tree, count):
    runs = sweep(make, [64], 1)
    page = whole_page(found := findings(runs), content(found, tree))
    assert "event" not in words(page).lower().replace("prevent", "")
    (run,) = runs.values()
    run.attrs["events"] = json.dumps([[k, f"{k} {HOSTILE}"] for k in range(count)])
    run.attrs["gaps"] = json.dumps([[2, 4], HOSTILE])
    run["noise_left_out"] = "iteration", [0, 0, 0, 1, 2]
    found = replace(found, study=Study(runs))
    page = whole_page(found, content(found, tree))
    assert page.count("<script>") == 1
    assert "\x1b" not in page
    said = words(page)
    assert "b64-s0, iteration 0: 0 &lt;script&gt;alert(1)&lt;/script&gt;�[31m" in said
    assert "b64-s0: no records after iteration 2 and before 4, they were lost" in said
    assert "b64-s0: the noise leaves out 3 of 8 updates" in said
    assert f"{count + 2} events of the runs" in said
    folded = re.search(r"<summary>\d+ events of the runs", page)
    assert (folded is not None) == (count > 6)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_runs_at_rest_or_without_a_distance_still_make_a_page(make, tree, value):
    runs = sweep(make, [64, 256], 2)
    for name in ("b64-s0", "b64-s1", "b256-s1"):
        runs[name]["distance_sq"][:] = value
    found = findings(runs)
    page = whole_page(found, content(found, tree))
    assert "Distance and fitted laws" in headings(page)


def caption(found):
    return words(str(motion.hero(found)))


def judged(found, key, word, **texts):
    """Findings with another verdict, and what stands beside it."""
    table = found.verdicts.copy(deep=True)
    place = table["prediction"].values.tolist().index(key)
    for name, text in {"verdict": word, **texts}.items():
        values = table[name].values.astype("<U99")
        values[0, place] = text
        table[name] = table[name].dims, values
    return replace(found, verdicts=table)


def test_the_caption_of_the_first_picture_names_what_it_speaks_of(make):
    found = findings(sweep(make, [64, 256, 1024], 2, data_size=10**6))
    found = judged(found, "P1", "contradicted", about="at batch size 64")
    told = caption(judged(found, "P2", "supported", about="batch sizes 64 and 256"))
    assert "Distances leave the logarithm at batch size 64, batch sizes 64 and 256 on one" in told
    assert "batch sizes not on one curve" in caption(judged(found, "P2", "contradicted"))
    assert "Not drawn" not in told


def test_the_caption_says_what_the_first_picture_leaves_out(make):
    sizes = [64, 128, 256, 512, 1024, 2048]
    runs = sweep(make, sizes, 1) | {
        "fixed": make(run="fixed", batch_size=256, scaling="fixed", rate=0.7, records=FEW),
        "other": make(run="other", batch_size=64, weight_decay=0.1, records=FEW),
    }
    told = caption(findings(runs))
    assert re.search(r"Not drawn: M = \d+; 1 arm at other rates; the set [^;]*0\.1", told)


def test_a_late_logarithm_is_compared_in_place_of_the_line(make):
    times = log_spaced(3000)
    runs = {}
    for seed in range(3):
        rng = np.random.default_rng(seed)
        law = np.log1p(times / 300) * np.exp(0.002 * rng.standard_normal(times.size))
        squares = law[:, None] ** 2 * [0.6, 0.3, 0.1]
        runs[f"s{seed}"] = make(seed=seed, records=times, distance_sq=squares)
    found = findings(runs)
    late = judged(found, "P1", "supported", law="log(t + 299)")
    told = caption(late)
    assert "Distances follow log(t + 299)." in told
    (onset, off) = re.search(
        r"log\(t \+ (\d+)\), fitted to all iterations at batch size 64, keeps within ([\d.]+) %",
        told,
    ).groups()
    # Noise of 0.2 % a seed, of the mean of three.
    assert 250 < int(onset) < 350 and float(off) < 0.6
    assert "keeps within" not in caption(judged(found, "P1", "supported", law=""))


WANDERS, FITS = "noise_nonstationary", "two_phases"


@pytest.mark.parametrize(
    ("marked", "said"),
    [
        ((FITS, FITS), ""),
        ((WANDERS, FITS), "In 1 of 2 fits"),
        ((WANDERS, WANDERS), "In 2 of 2 fits"),
    ],
)
def test_runs_that_a_fit_marks_as_wandering_are_told(make, tree, monkeypatch, marked, said):
    """And no others: the noise of a misfit goes like a walk as well, and widens nothing."""
    found = findings(sweep(make, [64], 2))
    values = {"exponent": 0.0, "offset": 1.0, "slope": 1.0, "onset": 0.0}
    fits = found.study.fits.assign({name: ("node", np.full(2, v)) for name, v in values.items()})
    fits = fits.assign(noise_model=("node", ["walk_log_t"] * 2), status=("node", list(marked)))
    monkeypatch.setattr(motion, "_panels", lambda *_: [Markup("<p></p>")])
    found = replace(found, study=replace(found.study, fitted=fits))
    text = words(whole_page(found, content(found, tree)))
    assert ("wander like a random walk" in text) == bool(said)
    assert said in text
    assert "interval of p is wide" not in text


def test_every_verdict_has_a_cell_in_the_strip_that_leads_to_its_card(make, tree):
    found = findings(sweep(make, [64], 1))
    page = whole_page(found, content(found, tree))
    cells = re.findall(r'<a class="cell [^"]*" href="#([^"]+)"', page)
    assert len(cells) == len(set(cells)) == found.verdicts.sizes["prediction"]
    for anchor in cells:
        assert page.count(f'id="{anchor}"') == 1
        assert f'aria-labelledby="{anchor}-h"' in page


def test_other_sets_follow_shorter_and_say_what_they_lack(make, tree):
    runs = sweep(make, [64], 2)
    runs["other"] = make(run="other", seed=5, weight_decay=0.1, records=FEW)
    found = findings(runs)
    page = whole_page(found, content(found, tree))
    assert "Other runs in these folders" in headings(page)
    first, _, rest = page.partition('id="others"')
    assert first.count('<article id="P1"') == 1
    assert "<article" not in rest
    assert "What the open ones lack" in words(rest)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_headings_go_down_by_one_level_at_most(make, tree):
    runs = sweep(make, [64, 256], 2) | {"other": make(run="other", weight_decay=0.1, records=FEW)}
    found = findings(runs)
    page = whole_page(found, content(found, tree))
    levels = [int(one) for one in re.findall(r"<h(\d)", page)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))


def test_a_section_that_fails_is_replaced_by_a_line_and_warned_of(make, tree, monkeypatch):
    found = findings(sweep(make, [64], 1))

    def broken(found, content):
        raise ZeroDivisionError("<b>none</b>")

    held = [
        (name, short, broken if build is measures.loss else build)
        for name, short, build in document._SECTIONS
    ]
    monkeypatch.setattr(document, "_SECTIONS", tuple(held))
    with pytest.warns(RuntimeWarning, match="report: Loss is left out: ZeroDivisionError"):
        page = whole_page(found, content(found, tree))
    text = words(page)
    assert "Loss This section could not be drawn; the numbers stand in the JSON file." in text
    assert "Data quality" in text and "<b>none" not in page


def test_such_a_warning_fails_a_test(make, tree, monkeypatch):
    found = findings(sweep(make, [64], 1))
    monkeypatch.setattr(document, "warnings", lambda *_: 1 / 0)
    with pytest.raises(RuntimeWarning, match="division by zero"):
        whole_page(found, content(found, tree))


def test_copies_are_told_below_the_table_of_runs(make, tree):
    found = findings(sweep(make, [64], 1))
    noted = replace(found, verdicts=found.verdicts.assign_attrs(note="1 recording repeats one."))
    assert "1 recording repeats one." in words(whole_page(noted, content(found, tree)))
    assert "repeats" not in words(whole_page(found, content(found, tree)))


def test_ladders_noise_and_the_critical_batch_size_have_their_place(make, tree):
    runs = sweep(make, [64], 2, last=300, records=None)
    values = np.full((runs["b64-s0"].sizes["iteration"], 1), 0.5)
    for k, (name, run) in enumerate(list(runs.items())):
        told = {"ladder": "limit", "rung": k, "rung_name": "<b>LARS</b>"}
        evaluated = {"held_out": (("iteration", "metric"), values)}
        runs[name] = run.assign_coords(metric=["accuracy"]).assign(evaluated).assign_attrs(told)
    found = replace(
        findings(runs),
        noise=arm_scales(runs),
        ladders=ladders(runs),
        critical=CriticalBatch(
            Interval(600.0, 400.0, 900.0, 4),
            steps={64: 100.0},
            status="ok",
            notes=("of one rate",),
        ),
    )
    page = whole_page(found, content(found, tree))
    expected = ["Gradient noise scale", "Ladder of recipes"]
    assert [title for title in headings(page) if title in expected] == expected
    text = words(page)
    assert "seeds below" in text or "windows below" in text
    # A capital first, and neither the fewest iterations nor what the lead says already.
    assert "Critical batch size 600 [400, 900], 4 seeds. batch size iterations" in text
    assert "64 100 6400 Of one rate." in text
    assert "0 &lt;b&gt;LARS&lt;/b&gt; 1 50.0 % first rung" in text
    assert page.count("<b>LARS</b>") == 0


def test_what_is_missing_takes_no_room(make, tree):
    runs = sweep(make, [64], 1)
    lone = Ladder(
        "", "accuracy", (Rung(LadderPlace("", 0, "base"), 0.5, 1, 0, None, None),), 0.95, ()
    )
    missing = CriticalBatch(reason="no run recorded its loss")
    unknown = [replace(one, place="unknown") for one in arm_scales(runs)]
    found = replace(findings(runs), critical=missing, ladders=[lone], noise=unknown)
    page = whole_page(found, content(found, tree))
    assert not {"Ladder of recipes", "Gradient noise scale"} & set(headings(page))
    assert "Critical batch size" not in page


def test_noise_taken_apart_is_folded_behind_a_line(make, tree):
    runs = sweep(make, [64], 1, records=None, last=2000)
    found = findings(runs)
    found = replace(found, noise_detail=noise_breakdown(runs, arm_scales(runs)))
    text = words(whole_page(found, content(found, tree)))
    assert "Noise scale at batch size 64 by tensors and by part of the network and by loss" in text
