import numpy as np
import pandas as pd
import pytest
import xarray as xr

import ultraslow as us
from ultraslow.analysis.exporters import as_table, write_csv
from ultraslow.analysis.growth import fit_totals
from ultraslow.analysis.runs import runs_of
from ultraslow.diffusion.recording import FIELDS, RecordError


@pytest.fixture
def study(make, tree):
    """Two runs of three tensors; one diverges, the other has scores and another size."""
    first, second = (
        make(run=f"r-{k}", seed=k, batch_size=64 * (k + 1), last=1000) for k in (0, 1)
    )
    first["distance_sq"][-3:] = np.nan
    score = np.full((second.sizes["iteration"], 1), np.nan)
    score[-1] = 0.75
    second = second.assign_coords(metric=("metric", ["accuracy"]))
    return tree(first, second.assign(held_out=(("iteration", "metric"), score)))


def test_a_table_has_a_row_a_record_and_sums_tensors(study):
    table = as_table(study)
    runs = runs_of(study)
    assert len(table) == sum(run.sizes["iteration"] for run in runs.values())
    second = table[table["run"] == "r-1"]
    (own,) = (run for run in runs.values() if str(run["run"].values) == "r-1")
    np.testing.assert_allclose(second["distance"], own["distance_sq"].sum("tensor") ** 0.5)
    np.testing.assert_allclose(
        second["noise_trace"], own["noise_trace"].sum("tensor", skipna=False)
    )
    assert second["held_out_accuracy"].iloc[-1] == 0.75
    assert set(second["weights"]) == {910}
    assert table[table["run"] == "r-0"]["distance"].isna().sum() == 3


def test_what_is_imported_from_a_table_is_what_was_written(study, tmp_path):
    path = tmp_path / "study.csv"
    write_csv(study, path)
    assert len(pd.read_csv(path)) == len(as_table(study))
    found = us.import_runs(path)
    assert list(found.children) == ["r-0", "r-1"]
    for mine, theirs in zip(found.children.values(), runs_of(study).values(), strict=True):
        names = set(theirs.variables) & set(FIELDS) - {"tensor", "tensor_size", "run"}
        assert names <= set(mine.variables)
        for name in names:
            own, other = mine[name], theirs[name]
            other = other.sum("tensor", skipna=False) if "tensor" in other.dims else other
            own = own.isel(tensor=0) if "tensor" in own.dims else own
            if own.dtype.kind == "U":
                assert own.values.tolist() == other.values.tolist(), name
            else:
                np.testing.assert_array_equal(own.values, other.values, err_msg=name)
        assert int(mine["tensor_size"].sum()) == 910


def test_fits_are_the_same_to_the_last_digits(study, tmp_path):
    path = tmp_path / "study.csv"
    write_csv(study, path)
    before = fit_totals(runs_of(study))
    after = fit_totals(runs_of(us.import_runs(path)))
    for name in ("exponent", "exponent_low", "exponent_high", "slope", "decade_ratio"):
        np.testing.assert_allclose(after[name], before[name], rtol=1e-9)


def test_no_runs_no_rows():
    assert as_table(xr.DataTree()).empty


def test_counts_of_a_table_are_whole_numbers(study, tmp_path):
    path = tmp_path / "study.csv"
    header, first, *rest = write_csv(study).split("\n")
    cells = first.split(",")
    cells[header.split(",").index("noise_updates")] = "inf"
    path.write_text("\n".join([header, ",".join(cells), *rest]))
    with pytest.raises(RecordError, match="'noise_updates': found inf, expected whole numbers"):
        us.import_runs(path)
