import numpy as np
import pandas as pd
import pytest
import xarray as xr

import ultraslow as us
from ultraslow.analysis.exporters import to_frame, write_csv
from ultraslow.analysis.growth import fit_totals
from ultraslow.analysis.runs import runs_of
from ultraslow.analysis.study import Study
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
    table = to_frame(study)
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


def test_a_single_recording_is_a_table_as_node_and_as_dataset(study):
    node = next(iter(study.children.values()))
    pd.testing.assert_frame_equal(to_frame(node), to_frame(node.to_dataset()))
    assert len(to_frame(node)) == node.sizes["iteration"]


def test_a_table_follows_a_link(study, tmp_path):
    target, link = tmp_path / "own.csv", tmp_path / "link.csv"
    target.write_text("old")
    link.symlink_to(target)
    write_csv(study, link)
    assert link.is_symlink() and target.read_text() != "old"


def test_what_is_imported_from_a_table_is_what_was_written(study, tmp_path):
    path = tmp_path / "study.csv"
    write_csv(study, path)
    assert len(pd.read_csv(path)) == len(to_frame(study))
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


def test_the_frame_is_the_csv_that_export_writes(study, tmp_path):
    path = tmp_path / "study.csv"
    write_csv(study, path)
    read, frame = pd.read_csv(path), to_frame(study)
    assert list(read) == list(frame)
    pd.testing.assert_frame_equal(read, frame, check_dtype=False, rtol=0, atol=0)


def test_in_long_form_a_row_is_a_record_of_one_tensor(study):
    frame = to_frame(study, tensors=True)
    runs = {str(run["run"].values): run for run in runs_of(study).values()}
    assert len(frame) == sum(run["distance_sq"].size for run in runs.values())
    for name, run in runs.items():
        own = frame[frame["run"] == name].set_index(["iteration", "tensor"])
        for at in (0, 5, -1):
            for tensor in run["tensor"].values.tolist():
                row = own.loc[(int(run["iteration"][at]), tensor)]
                for field in ("distance_sq", "noise_trace", "weight_sq"):
                    expected = run[field].isel(iteration=at).sel(tensor=tensor).item()
                    np.testing.assert_equal(row[field], expected)
                assert row["tensor_size"] == run["tensor_size"].sel(tensor=tensor).item()
        assert set(own["batch_size"]) == {run["batch_size"].item()}
    totals = frame.groupby(["run", "iteration"], sort=False)["distance_sq"].sum(min_count=3)
    whole = to_frame(study).set_index(["run", "iteration"])["distance_sq"]
    pd.testing.assert_series_equal(totals, whole, rtol=1e-12)


def test_the_frame_is_that_of_a_study_a_mapping_and_a_run(study):
    runs = runs_of(study)
    whole = to_frame(study)
    for same in (Study(runs), runs):
        pd.testing.assert_frame_equal(to_frame(same), whole)
    one = to_frame(next(iter(runs.values())))
    pd.testing.assert_frame_equal(one, whole[: len(one)].dropna(axis=1, how="all"))


def test_runs_of_one_name_are_told_apart(make, tree):
    found = to_frame(tree(make(run="r", seed=0), make(run="r", seed=1)))
    assert found.groupby("run")["seed"].nunique().to_dict() == {"r0": 1, "r1": 1}


@pytest.mark.parametrize("given", [[1], {"a": 1}, xr.Dataset(), "runs/"])
def test_what_is_no_recording_is_refused(given):
    with pytest.raises(TypeError, match="runs: found a? ?(list|int|Dataset|str)"):
        to_frame(given)


def test_a_frame_holds_what_its_rows_need(make, tree):
    """Sketches and landscapes would be multiplied with tensors: 68 GiB for a study of images."""
    run = make(last=1000)
    count = run.sizes["iteration"]
    run = run.assign(sketch=(("iteration", "component"), np.zeros((count, 4096))))
    for tensors in (False, True):
        frame = to_frame(tree(run), tensors=tensors)
        rows = count * (run.sizes["tensor"] if tensors else 1)
        assert len(frame) == rows
        assert frame.memory_usage(index=False).sum() <= 8 * rows * frame.shape[1]


def test_no_runs_no_rows():
    assert to_frame(xr.DataTree()).empty


def test_counts_of_a_table_are_whole_numbers(study, tmp_path):
    path = tmp_path / "study.csv"
    header, first, *rest = write_csv(study).split("\n")
    cells = first.split(",")
    cells[header.split(",").index("noise_updates")] = "inf"
    path.write_text("\n".join([header, ",".join(cells), *rest]))
    with pytest.raises(RecordError, match="'noise_updates': found inf, expected whole numbers"):
        us.import_runs(path)
