import re

import numpy as np
import pytest
import xarray as xr

from ultraslow.diffusion.recording.contract import pack
from ultraslow.diffusion.recording.fields import AXES, COORDINATES, FIELDS

# CF conventions 1.11, appendix E; `covariance` has no name of its own there
METHODS = {"point", "mean", "sum", "variance"}
DIMENSIONS = {"iteration", "tensor", "component", *AXES}

every_field = pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)


@every_field
def test_name_type_unit_and_meaning_are_sound(field):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", field.name)
    assert FIELDS[field.name] is field
    assert field.dtype in {"f8", "i8", "str"}
    # text has no unit, a number has one: seconds, or dimensionless
    assert field.units in ({""} if field.dtype == "str" else {"1", "s"})
    assert field.meaning
    assert field.meaning == field.meaning.strip().rstrip(".")


@every_field
def test_dimensions_are_known_and_differ(field):
    assert set(field.dims) <= DIMENSIONS
    assert len(set(field.dims)) == len(field.dims)
    # records come first, so that segments of a run can be joined
    assert "iteration" not in field.dims[1:]


@every_field
def test_a_window_has_one_rule_of_the_conventions(field):
    axis = field.dims == (field.name,)
    if "iteration" in field.dims and not axis:
        over, method = field.cell_method.split(": ")
        assert over == "iteration"
        assert method in METHODS
        # sums over a window count updates; text and counts have no mean
        assert not (field.dtype == "i8" and method in {"mean", "variance"})
    else:
        assert field.cell_method == ""


def test_every_dimension_with_values_is_an_axis_or_a_name():
    declared = {field.name for field in FIELDS.values() if field.dims == (field.name,)}
    assert declared == {"iteration", "tensor", *AXES}
    used = {dim for field in FIELDS.values() for dim in field.dims}
    assert used - declared == {"component"}  # columns of a hash, without values of their own


def test_coordinates_are_axes_labels_and_what_describes_a_tensor():
    assert len(set(COORDINATES)) == len(COORDINATES)
    assert set(COORDINATES) <= set(FIELDS)
    by_rule = {
        field.name
        for field in FIELDS.values()
        if not field.dims or field.dims == (field.name,) or field.dims == ("tensor",)
    }
    assert set(COORDINATES) == by_rule


def test_what_is_required_can_be_written_without_any_optional_axis():
    for field in FIELDS.values():
        if field.required:
            assert set(field.dims) <= {"iteration", "tensor"}, field.name


def test_a_variance_belongs_to_a_mean():
    for field in FIELDS.values():
        if field.name.endswith("_var"):
            assert field.cell_method == "iteration: variance"
            assert FIELDS[field.name.removesuffix("_var")].cell_method == "iteration: mean"


def example(field):
    shape = (2,) * len(field.dims)
    if field.dtype == "str":
        return np.array([f"{field.name}{i}" for i in range(2)]) if shape else field.name
    values = np.arange(int(np.prod(shape)), dtype=float).reshape(shape) + 1
    return values.astype(np.int64) if field.dtype == "i8" else values


def test_all_fields_together_make_one_dataset_that_a_file_keeps(tmp_path):
    packed = pack({field.name: example(field) for field in FIELDS.values()}, {})
    written = xr.Dataset.from_dict(packed)
    assert set(written.coords) == set(COORDINATES)
    written.to_netcdf(tmp_path / "all.nc")
    xr.testing.assert_identical(xr.load_dataset(tmp_path / "all.nc"), written)
    for field in FIELDS.values():
        assert written[field.name].dims == field.dims, field.name
        assert written[field.name].attrs["long_name"] == field.meaning
