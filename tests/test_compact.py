"""docs/compact.py keeps a study in less room and moves no number that a verdict rests on."""

from pathlib import Path

import numpy as np
import pytest

from ultraslow.diffusion.recording import read_file

DATA = Path(__file__).parents[1] / "data" / "cifar10-small"


def test_doubles_are_rounded_to_the_nearest_with_so_many_bits(compact):
    values = np.array([1.0, 1 + 2**-8, 1 + 2**-9, 1 + 1.5 * 2**-8, -np.pi, 0.0, np.nan, np.inf])
    found = compact.rounded(values, 8)
    assert found[:4].tolist() == [1.0, 1 + 2**-8, 1 + 2**-8, 1 + 2**-7]
    assert found[4] == -804 / 256  # π = 3.14159…; steps of 2⁻⁷ from 2 to 4
    assert found[5] == 0 and np.isnan(found[6]) and np.isposinf(found[7])
    rng = np.random.default_rng(0)
    many = np.exp(50 * rng.standard_normal(10_000)) * rng.choice([-1, 1], 10_000)
    assert np.abs(compact.rounded(many, 21) / many - 1).max() <= 2**-22


@pytest.fixture(scope="module")
def written(compact, tmp_path_factory):
    whole, small = (tmp_path_factory.mktemp(name) for name in ("whole", "small"))
    for path in sorted(DATA.glob("sqrt-b256-s[01].nc")):
        (whole / path.name).write_bytes(path.read_bytes())
    assert compact.main([str(whole), str(small)]) == 0
    return whole, small


def test_a_compact_recording_is_smaller_sealed_and_whole(written, compact):
    whole, small = written
    for path in sorted(whole.glob("*.nc")):
        (before, _), (after, _) = read_file(path), read_file(small / path.name)
        assert (small / path.name).stat().st_size < 0.75 * path.stat().st_size
        assert set(after.variables) == set(before.variables)
        assert compact.is_rounded(after) and not compact.is_rounded(before)
        for name, variable in before.variables.items():
            if variable.dtype != np.float64:
                assert after[name].variable.equals(variable), name
                continue
            near = 2.0 ** -(12 if "component" in variable.dims else 21)
            np.testing.assert_allclose(after[name].values, variable.values, rtol=near)


def test_a_run_made_anew_equals_its_compact_form(written, reproduce):
    whole, small = map(reproduce.recordings, written)
    assert {row.word for row in reproduce.compared(whole, small)} == {"equal"}
