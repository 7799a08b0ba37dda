import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ultraslow.analysis import load
from ultraslow.analysis.growth.runs import fit_tensors, fit_totals
from ultraslow.analysis.predictions.table import as_dataset
from ultraslow.analysis.predictions.verdict import Sample, Verdict
from ultraslow.analysis.report import tables
from ultraslow.analysis.report.numbers import verdict_rows
from ultraslow.analysis.text import columns, printable

FEW = [0, 1, 2, 4, 8]
LONG = "a-very-long-run-name-with-many-settings-in-it-b1024-s0"
SAFE = st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Zs", "Mn", "Me", "Mc"])
CELLS = st.text(SAFE, min_size=1, max_size=12)


def widths(text):
    return [columns(line) for line in text.splitlines()]


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=6))
def test_columns_of_a_table_are_aligned(rows):
    lines = tables.table(("a", "b", "c"), rows).splitlines()
    assert len(lines) == len(rows) + 1
    # The last column is flush right: every line ends where the header does.
    assert len({columns(line) for line in lines}) == 1
    assert all(line.startswith(row[0]) for line, row in zip(lines[1:], rows, strict=True))
    edge = max(columns(cell) for cell in ("a", *(row[0] for row in rows)))
    starts = [
        columns(line) - columns(line[len(row[0]) :].lstrip())
        for line, row in zip(lines[1:], rows, strict=True)
    ]
    assert min(starts) >= edge + 2


def test_a_row_of_another_length_is_an_error():
    with pytest.raises((ValueError, IndexError)):
        tables.table(("a", "b"), [("1",)])


def test_info_fits_a_hundred_columns_and_shows_the_faults(make, tree):
    run = make(run=LONG, tensor_size=[25_000_000, 500_000, 57_000], last=1_000_000)
    runs = tree(run, make(run="距離" * 5, seed=1))
    lines = tables.info(runs).splitlines()
    assert max(map(columns, lines)) <= tables.WIDTH
    assert lines[1].split()[:4] == [printable(LONG, 20), "64", "0", "1000000"]
    assert "25.6M" in lines[1]
    assert "loss, noise, rate" in lines[1]
    assert "距離距離" in lines[2]


def test_fits_fit_a_hundred_columns_and_count_each_reason_once(make):
    runs = {f"r{k}": make(run=LONG, seed=k, records=FEW) for k in range(3)}
    text = tables.fits(fit_tensors(runs, intervals=False))
    assert max(widths(text)) <= tables.WIDTH
    assert text.count("9 curves: 4 records after iteration 0") == 1
    assert text.count("conv.weight") == 3


def test_a_fit_is_shown_with_its_numbers(make):
    fits = fit_totals({"r": make(records=FEW)})
    known = {"exponent": 0.25, "exponent_low": 0.1, "exponent_high": np.inf, "detectable": 0.2}
    fits = fits.assign({k: ("node", [v]) for k, v in known.items()})
    fits["status"] = ("node", ["p_unbounded"])
    row = tables.fits(fits).splitlines()[3]
    assert row.split() == [
        *("run", "64", "0", "0.90", "0.250", "[0.100,", "∞)", "0.200", "p", "unbounded"),
    ]


def paragraph(**options):
    plain = {"reason": "because.", "effect_meaning": "exponent p"}
    item = Verdict("P1", "What is claimed.", "supported", **plain | options)
    return tables.verdicts(as_dataset([item], level=0.95))


def test_a_verdict_holds_what_was_found():
    text = paragraph(
        effect=0.01,
        effect_low=-0.02,
        effect_high=0.03,
        sample=Sample(4, 2, (64, 256)),
        needed="more seeds",
    )
    assert text.splitlines() == [
        "P1  SUPPORTED     0.010 [−0.020, 0.030]       4 runs, batch sizes 64, 256",
        "    What is claimed.",
        "    because.",
        "    Would decide it: more seeds.",
    ]


def test_a_verdict_without_effect_or_runs_reads_well():
    text = paragraph()
    assert text.splitlines()[0].split() == [
        "P1",
        "SUPPORTED",
        "0",
        "runs,",
        "no",
        "batch",
        "size",
    ]
    assert "Would decide" not in text


@given(st.text(max_size=2000))
def test_a_paragraph_never_exceeds_a_hundred_characters_a_line(reason):
    assert max(map(len, paragraph(reason=reason).split("\n"))) <= tables.WIDTH


def test_unusable_paths_are_listed(save, tmp_path):
    save("good", tmp_path / "runs", records=FEW)
    (tmp_path / "runs" / "bad.nc").write_bytes(b"")
    lines = tables.info(load(tmp_path / "runs")).splitlines()
    assert lines[2].startswith("not used: ")
    assert lines[2].endswith("bad.nc")
    assert lines[3] == "  has zero bytes"


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("live", "a: live (last written 2000-02-29 12:34:56 UTC, "),
        ("killed", "a: killed (last written 2000-02-29 12:34:56 UTC, "),
        ("live on gpu7?", "a: live on gpu7? (last written 2000-02-29 12:34:56 UTC, "),
    ],
)
def test_a_killed_run_is_told_from_a_living_one(make, tree, state, told):
    written = {"state": state, "written": "2000-02-29T12:34:56+00:00"}
    runs = tree(
        make(run="a", records=FEW).assign_attrs(written),
        make(run="b", records=FEW).assign_attrs(state="closed"),
    )
    lines = tables.info(runs).splitlines()
    assert [line.split()[7] for line in lines[1:3]] == [state.split()[0], "closed"]
    assert lines[3].startswith(told)
    assert lines[3].endswith(" d ago)")
    assert len(lines) == 4


def test_verdicts_of_a_set_stand_apart():
    item = Verdict("P1", "Claim.", "supported", "Reason.", "p")
    both = tables.verdicts(as_dataset([item, item], level=0.95))
    assert both.split("\n\n")[0] == both.split("\n\n")[1]


def test_predictions_without_a_measurement_come_last_in_short():
    lacking = Verdict("P9", "Claim.", "undecidable", "No path.", "R", needed="a path")
    told = Verdict("P10", "Claim.", "supported", "Reason.", "ratio", effect=1.0)
    text = tables.verdicts(as_dataset([lacking, told], level=0.95))
    assert text.splitlines()[0].startswith("P10 SUPPORTED")
    assert text.splitlines()[-1] == (
        "P9  undecidable (Random, not driven): No path. Would decide it: a path."
    )


def test_the_first_prediction_and_open_ones_with_an_effect_are_told_in_full():
    first = Verdict("P1", "Claim.", "undecidable", "Reason.", "p", needed="more")
    open_one = Verdict("P2", "Claim.", "undecidable", "Reason.", "ratio", effect=1.0)
    rows = verdict_rows(as_dataset([first, open_one], level=0.95))
    assert not any(map(tables.folded, rows))


def test_a_note_on_copies_ends_the_verdicts():
    item = Verdict("P1", "Claim.", "supported", "Reason.", "p")
    found = as_dataset([item], level=0.95).assign_attrs(note="1 recording repeats another.")
    assert tables.verdicts(found).split("\n\n")[-1] == "1 recording repeats another."
