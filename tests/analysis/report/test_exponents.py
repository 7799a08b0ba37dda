"""Tables of exponents on other clocks, and statuses in words."""

import numpy as np

from ultraslow.analysis.growth.runs import fit_on, fit_totals
from ultraslow.analysis.report.exponents import exponent_table

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
