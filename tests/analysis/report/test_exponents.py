"""Tables of exponents on other clocks, and statuses in words."""

import numpy as np

from ultraslow.analysis.growth.runs import fit_on, fit_tensors, fit_totals
from ultraslow.analysis.report.exponents import exponent_table, exponent_tables

RECORDS = np.append(0, np.unique(np.geomspace(1, 3000, 60).astype(int)))


def test_a_table_says_which_clock_it_is_on(make):
    rate = 0.1 / np.sqrt(np.maximum(RECORDS, 1))
    summed = 0.2 * np.sqrt(RECORDS.astype(float))
    given = {"learning_rate": rate, "learning_rate_sum": summed}
    run = make(records=RECORDS, distance_sq=np.outer(summed, [0.6, 0.3, 0.1]), **given)
    found = exponent_table(fit_on({"a": run}, "learning_rate_sum"))
    assert found.lead[0].startswith("t is Ση, over all records")
    (row,) = found.json()
    assert row["clock"] == "learning_rate_sum"
    assert row["break_at"] is None
    assert not any(text.startswith("t is") for text in exponent_table(fit_totals({"a": run})).lead)


def test_what_no_law_follows_is_said_in_words(make):
    jumped = np.log(RECORDS + 1.0) + 2.0 * (RECORDS >= 300)
    run = make(records=RECORDS, distance_sq=np.outer(jumped**2, [0.6, 0.3, 0.1]))
    found = exponent_table(fit_totals({"a": run}))
    assert found.terminal().splitlines()[5].endswith("two phases")
    assert "the distance jumps up by" in found.terminal()
    (row,) = found.json()
    assert row["break_at"] == RECORDS[RECORDS >= 300][0]


def test_runs_that_are_fitted_on_the_summed_rate_have_no_empty_rows_before(make):
    summed = 0.2 * np.sqrt(RECORDS.astype(float))
    moved = np.outer(np.log(summed + 1.0) ** 2, [0.6, 0.3, 0.1])
    changing = {
        "learning_rate": 0.1 / np.sqrt(np.maximum(RECORDS, 1)),
        "learning_rate_sum": summed,
    }
    runs = {
        "steady": make(records=RECORDS, distance_sq=moved, batch_size=19_200_000),
        "changing": make(records=RECORDS, distance_sq=moved, run="changing", **changing),
    }
    on_rate = fit_on({"changing": runs["changing"]}, "learning_rate_sum")
    found = {"/": fit_totals(runs), "/learning_rate_sum": on_rate}
    first, second = exponent_tables(found).values()
    assert [row["node"] for row in first.json()] == ["steady"]
    assert "19,200,000" in first.terminal()
    assert first.notes[-1].startswith("not shown: 1 run without a fit at a constant rate, as the")
    assert first.notes[-1].endswith("at least 8 are needed; fitted on Ση below")
    assert [row["node"] for row in second.json()] == ["changing"]

    one = {name: fits.sel(node=["changing"]) for name, fits in found.items()}
    tensors = fit_tensors({"changing": runs["changing"]}, intervals=False)
    first, inner, _ = exponent_tables({"/": one["/"], "/tensors": tensors, **one}).values()
    assert not first.rows
    assert "the tensors of 1 run without a fit" in inner.notes[0]

    lost = on_rate.assign(exponent=on_rate["exponent"] * np.nan)
    first, _ = exponent_tables({"/": one["/"], "/learning_rate_sum": lost}).values()
    assert [row["node"] for row in first.json()] == ["changing"]
