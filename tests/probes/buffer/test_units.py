import numpy as np
import pytest

from ultraslow.probes.buffer.units import DeclaredUnits


def test_sums_over_units():
    units = DeclaredUnits(warn=pytest.fail)
    units.declare(2, 0.25)
    units.declare(6, 0.75)
    shares = units.take(2)
    assert (shares.share, shares.sized, shares.weighted) == (1.0, 2, 2)
    assert shares.weight_sq == 0.25**2 + 0.75**2
    assert shares.weight_sq_over_size == 0.25**2 / 2 + 0.75**2 / 6
    assert shares.samples == 8


def test_equal_units_need_no_declaration():
    found = DeclaredUnits(warn=pytest.fail).take(3)
    assert (found.share, found.weight_sq, found.sized, found.weighted) == (3, 3, 0, 0)


def test_what_is_declared_of_one_update_holds_for_that_alone():
    units = DeclaredUnits(warn=pytest.fail)
    units.declare(2, 0.5)
    assert units.take(1).weighted == 1
    assert units.take(4).sized == 0
    units.declare(2, None)
    found = units.take(1)
    assert (found.sized, found.weighted, found.samples) == (1, 0, 2)


def test_faults_say_what_was_found():
    units = DeclaredUnits(warn=pytest.fail)
    for size in (0, -1, float("inf"), float("nan"), "a", None):
        with pytest.raises(ValueError, match=f"size: found {size!r}, expected a finite number"):
            units.declare(size, None)
    with pytest.raises(ValueError, match="weight: found inf, expected a finite number above 0"):
        units.declare(2, float("inf"))
    units.declare(2, None)
    with pytest.raises(ValueError, match=r"weight: found 0\.5, expected a weight on all units"):
        units.declare(2, 0.5)


def test_a_probe_that_failed_is_no_misfit_of_declarations():
    units = DeclaredUnits(warn=pytest.fail)
    assert np.isnan(units.take(float("nan")).units)
    units.declare(3, None)
    found = units.take(float("nan"))
    assert np.isnan([found.units, found.weight_sq, found.weight_sq_over_size]).all()
    assert found.samples == 3


def test_declarations_of_discarded_units_count_for_nothing():
    units = DeclaredUnits(warn=pytest.fail)
    for size in (1, 1, 2, 6):
        units.declare(size, None)
    assert units.take(2, lost=2).samples == 8
    units.declare(5, None)
    units.drop()
    units.declare(3, None)
    assert units.take(1).samples == 3
