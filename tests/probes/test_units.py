import pytest

from probes.units import DeclaredUnits


def test_sums_over_units():
    units = DeclaredUnits(warn=pytest.fail)
    units.declare(2, 0.25)
    units.declare(6, 0.75)
    shares = units.take(2)
    assert shares.weight_sq == 0.25**2 + 0.75**2
    assert shares.weight_sq_over_size == 0.25**2 / 2 + 0.75**2 / 6
    assert shares.samples == 8


def test_equal_units_need_no_declaration():
    assert DeclaredUnits(warn=pytest.fail).take(3).weight_sq == 3


def test_faults_say_what_was_found():
    units = DeclaredUnits(warn=pytest.fail)
    with pytest.raises(ValueError, match="size, weight: found 0, None"):
        units.declare(0, None)
    units.declare(2, None)
    with pytest.raises(ValueError, match=r"weight: found 0\.5, expected a weight on all units"):
        units.declare(2, 0.5)


def test_declarations_of_discarded_units_count_for_nothing():
    units = DeclaredUnits(warn=pytest.fail)
    for size in (1, 1, 2, 6):
        units.declare(size, None)
    assert units.take(2, lost=2).samples == 8
    units.declare(5, None)
    units.drop()
    units.declare(3, None)
    assert units.take(1).samples == 3
