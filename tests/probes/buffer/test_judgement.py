import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from records import window_updates

from ultraslow.probes.buffer.judgement import Judge, UnitHistory
from ultraslow.probes.buffer.units import UnitShares

RNG = np.random.default_rng(4)


def updates(*shares, clip_factor=1.0):
    """Updates of such units, whose gradients tell nothing against them."""
    made = window_updates(len(shares))
    units = np.array([one.units for one in shares])
    factors = np.broadcast_to(np.asarray(clip_factor, dtype=float), units.shape)
    return replace(
        made, units=units, sums=np.array([one.columns() for one in shares]), clip_factor=factors
    )


def counted(units):
    return UnitShares(units, units, units)


def seen(units, *rows, tokens=1, forwards=None):
    forwards = len(rows) if forwards is None else forwards
    sums = {"rows": sum(rows), "over_rows": sum(1 / row for row in rows)}
    sums |= {"tokens": tokens * sums["rows"], "over_tokens": sums["over_rows"] / tokens}
    return UnitShares(units, units, units, forwards=forwards, **sums)


def judge(shares, *, batch_size=16, **options):
    one = Judge(UnitHistory(), batch_size=batch_size, processes=options.pop("processes", 1))
    norms_sq = options.pop("norms_sq", None)
    made = updates(*shares, **options)
    return one.judge(made if norms_sq is None else replace(made, total_sq=norms_sq)), one


def clipped_norms(factors, unclipped=()):
    """Squared norms of gradients that were clipped to one norm, but for those at some places."""
    norms_sq = 0.01 * np.asarray(factors, dtype=float) ** -2.0
    norms_sq[list(unclipped)] *= 0.8
    return norms_sq[:, None]


def test_the_commonest_number_of_units_holds_the_batch_size():
    found, _ = judge([counted(n) for n in (4, 4, 2, 4, 4, 6, 4)])
    assert found.samples.tolist() == [16, 16, 8, 16, 16, 24, 16]
    assert np.flatnonzero(found.left_out).tolist() == [2, 5]
    np.testing.assert_allclose(found.u[[0, 3]], 1 / 4)
    np.testing.assert_allclose(found.v[[0, 3]], 1 / 16)


def test_of_equally_common_numbers_the_largest_holds_it():
    found, _ = judge([counted(n) for n in (4, 2, 4, 2, 4, 2)])
    assert found.samples.tolist() == [16, 8, 16, 8, 16, 8]


def test_an_update_of_one_unit_is_not_left_out_as_it_holds_no_noise():
    found, one = judge([counted(n) for n in (4, 4, 1)])
    assert found.samples.tolist() == [16, 16, 4]
    assert not found.left_out.any()
    assert np.isnan(found.v[2])
    assert one.told() == []


@pytest.mark.parametrize("tokens", [1, 4])
def test_rows_or_tokens_count_samples_once_they_have_been_the_batch_size(tokens):
    full = [16 // tokens // 2] * 2
    found, _ = judge([seen(2, *full, tokens=tokens), seen(2, 1, 1, tokens=tokens)])
    assert found.samples.tolist() == [16, 2 * tokens]
    np.testing.assert_allclose(found.v, 1 / found.samples)


def test_rows_that_are_nodes_of_graphs_are_no_samples():
    """They vary, and now and then are a multiple of the batch size, or the batch size."""
    rows = [(37, 41), (52, 44), (33, 29), (50, 51), (15, 17), (16, 16)]
    found, one = judge([seen(2, *pair) for pair in rows], batch_size=32)
    assert found.samples.tolist() == [32] * 6
    assert found.left_out.all()
    assert ["counted by batch_size" in text and "unit(size" in text for text in one.told()] == [
        True
    ]


def test_rows_that_vary_below_the_batch_size_are_samples_whose_units_must_be_declared():
    rows = [(5, 28, 13), (29, 10, 12), (10, 10, 10), (8, 9, 13), (29, 29, 28)]
    found, one = judge([seen(3, *three) for three in rows], batch_size=87)
    assert found.samples.tolist() == [sum(three) for three in rows]
    assert found.left_out.all()
    assert ["counted by rows" in text and "unit(size" in text for text in one.told()] == [True]


def test_totals_that_vary_from_update_to_update_are_left_out_once_they_do():
    found, one = judge([seen(2, n, n) for n in (10, 10, 13, 10, 10)], batch_size=32)
    assert found.left_out.tolist() == [False, False, True, True, True]
    assert found.samples.tolist() == [32, 32, 26, 20, 20]
    assert len(one.told()) == 1


def test_of_one_unit_rows_that_vary_are_told_of_where_they_are_counted():
    found, one = judge([seen(1, n) for n in (10, 13, 12)], batch_size=32)
    assert found.samples.tolist() == [32, 13, 12]
    assert not found.left_out.any()
    assert ["samples are counted by rows" in text for text in one.told()] == [True]


def test_rows_that_are_the_length_of_a_sequence_stay_counted_when_an_epoch_ends_short():
    """Inputs (length, sequence): of 35 by 20, and once 35 by 7."""
    shares = [seen(2, 35, 35, tokens=n) for n in (20, 20, 7, 20, 20, 20)]
    found, one = judge(shares, batch_size=40)
    assert found.left_out.tolist() == [False, False, True, True, False, False]
    assert found.samples.tolist() == [40] * 6
    assert len(one.told()) == 1


def test_a_batch_size_that_is_a_multiple_of_the_rows_is_doubted():
    found, one = judge([seen(2, 4, 4)] * 3, batch_size=32)
    assert found.samples.tolist() == [8] * 3
    assert found.left_out.all()
    assert ["the inputs of an update had 8 rows" in text for text in one.told()] == [True]
    assert one.told() == []
    found, one = judge([seen(2, 5, 5)] * 3, batch_size=32)
    assert not found.left_out.any()


def test_units_of_one_pass_after_several_forward_passes_hold_all_their_rows():
    found, _ = judge([seen(2, 4, 4, 4, 4), seen(2, 4, 4, 4, 3)])
    assert found.samples.tolist() == [16, 15]
    assert found.left_out.tolist() == [False, True]


def test_declared_weights_need_not_add_up_to_1():
    short = UnitShares(2, 0.5, 0.125, 0.03125, 8, 2, 2)  # two of four units of 4, losses / 4
    found, _ = judge([short])
    assert (found.share[0], found.u[0], found.v[0], found.samples[0]) == (0.5, 0.125, 0.03125, 8)


def test_units_that_some_processes_declare_are_left_out():
    partly = UnitShares(4, 4, 4, 0.5, 8, 2, 0)
    found, one = judge([partly])
    assert found.left_out.tolist() == [True]
    assert found.samples.tolist() == [16]
    assert ["on some processes and not on others" in text for text in one.told()] == [True]


@pytest.mark.parametrize("processes", [1, 2])
def test_gradients_that_are_divided_by_the_passes_of_a_process(processes):
    share = processes / 4
    factors = [share, share, share, 0.3 * share, share * (1 + 1e-3), 1.0]
    found, one = judge([counted(4)] * 6, clip_factor=factors, processes=processes)
    np.testing.assert_allclose(found.clip_factor, [1.0, 1.0, 1.0, 0.3, 1.0, 1.0])
    np.testing.assert_allclose(found.unit_sq[:, 0], [share**2] * 4 + [factors[4] ** 2, 1.0])
    assert len(one.told()) == 2


def test_one_unclipped_update_tells_of_all_that_gradients_are_divided():
    factors = [0.11, 0.21, 0.25, 0.05, 0.25, 0.2]
    norms_sq = clipped_norms(factors, unclipped=[2, 4])
    found, one = judge([counted(4)] * 6, clip_factor=factors, norms_sq=norms_sq)
    np.testing.assert_allclose(found.clip_factor, [0.11, 0.21, 1, 0.2, 1, 0.8])
    np.testing.assert_allclose(found.unit_sq[:, 0], [1, 1] + [1 / 16] * 4)
    assert ["Earlier updates" in text and "2 of them" in text for text in one.told()] == [True]


def test_one_update_among_others_that_are_clipped_less_may_have_met_the_factor_by_accident():
    factors = [0.11, 0.51, 0.25, 0.11]
    found, _ = judge([counted(4)] * 4, clip_factor=factors, norms_sq=clipped_norms(factors))
    np.testing.assert_allclose(found.clip_factor, [0.11, 0.51, 1, 0.11])


def changed(units, changes):
    return counted(units)._replace(changes=changes)


def test_what_was_changed_twice_is_left_out_until_an_unclipped_update_tells():
    """Divided by 4 and clipped; each change is counted on every process."""
    shares = [changed(4, c) for c in (2, 2, 1, 2, 2)]
    factors = [0.11, 0.21, 0.25, 0.05, 0.2]
    norms_sq = clipped_norms(factors, unclipped=[2])
    found, one = judge(shares, clip_factor=factors, norms_sq=norms_sq)
    assert found.left_out.tolist() == [True, True, False, False, False]
    np.testing.assert_allclose(found.clip_factor, [np.nan, np.nan, 1, 0.2, 0.8])
    np.testing.assert_allclose(found.unit_sq[:, 0], [np.nan] * 2 + [1 / 16] * 3)
    known = np.where([False, False, True, True, True], norms_sq[:, 0] / 16, np.nan)
    np.testing.assert_allclose(found.total_sq[:, 0], known)
    assert found.samples.tolist() == [16] * 5
    told = one.told()
    assert ["changed twice" in text for text in told] == [True, False]
    assert "Earlier updates" not in told[1]


@pytest.mark.parametrize(("changes", "factor"), [(1, 0.123), (2, 0.312), (np.nan, 0.123)])
def test_clipping_alone_is_left_in(changes, factor):
    """The same gradient three times, as of the full batch while the rate is 0."""
    found, one = judge([changed(4, changes)] * 3, clip_factor=factor)
    assert not found.left_out.any()
    np.testing.assert_allclose(found.clip_factor, factor)
    assert one.told() == []


def test_once_an_update_was_clipped_less_than_a_division_would_changes_do_not_count():
    found, _ = judge([changed(4, 2)] * 3, clip_factor=[0.11, 0.51, 0.11])
    assert found.left_out.tolist() == [True, False, False]
    np.testing.assert_allclose(found.clip_factor, [np.nan, 0.51, 0.11])


def test_a_scale_that_was_undone_before_clipping_is_left_out():
    found, _ = judge([changed(2, 4)] * 2, clip_factor=1.23e-4, processes=2)
    assert found.left_out.all()


def with_norms(count, factors, changes=1.0, units=4):
    """Updates of other norms each, whose gradients were multiplied by these factors."""
    made = updates(*[changed(units, changes)] * count, clip_factor=factors)
    return replace(made, total_sq=np.linspace(0.5, 0.9, count)[:, None])


@pytest.mark.parametrize("units", [1, 4])
@pytest.mark.parametrize("scale", [3, 10, 16, 64, 100, 128, 1024, 1000, 65536, 0.25, 0.1])
def test_a_scale_that_is_undone_is_known_from_the_first_update_on(scale, units):
    factors = (1 + 1e-8 * RNG.standard_normal(20)) / scale  # as roundings leave it
    one = Judge(UnitHistory(), batch_size=16, processes=1)
    found = one.judge(with_norms(20, factors, units=units))
    np.testing.assert_allclose(found.unit_sq[:, 0], scale**-2.0, rtol=1e-6)
    np.testing.assert_allclose(
        found.total_sq[:, 0], np.linspace(0.5, 0.9, 20) * scale**-2.0, rtol=1e-6
    )
    np.testing.assert_allclose(found.clip_factor, 1.0, rtol=1e-6)
    assert not found.left_out.any()
    assert ["multiplied by one number" in text for text in one.told()] == [True]


@pytest.mark.parametrize("changes", [1, 2])
def test_any_other_number_is_known_when_it_comes_again_with_another_norm(changes):
    one = Judge(UnitHistory(), batch_size=16, processes=1)
    found = one.judge(with_norms(4, 1 / 37.31, changes))
    assert found.left_out.tolist() == [changes > 1, False, False, False]
    first = np.nan if changes > 1 else 1 / 37.31
    np.testing.assert_allclose(found.clip_factor, [first, 1, 1, 1])
    np.testing.assert_allclose(found.unit_sq[1:, 0], 37.31**-2)
    told = one.told()
    assert ["1 of them" in text for text in told if "one number" in text] == [changes == 1]


def test_a_scale_that_is_undone_before_clipping_is_known_from_the_first_unclipped_update_on():
    clipping = np.array([0.31, 0.52, 1.0, 0.4, 0.73, 1.0])
    for scale in (10, 128, 65536):
        one = Judge(UnitHistory(), batch_size=16, processes=1)
        made = with_norms(6, clipping / scale, changes=2)
        norms_sq = clipped_norms(clipping, unclipped=[2, 5])
        found = one.judge(replace(made, total_sq=norms_sq))
        assert found.left_out.tolist() == [True, True, False, False, False, False]
        np.testing.assert_allclose(found.clip_factor[2:], clipping[2:])
        np.testing.assert_allclose(found.unit_sq[2:, 0], scale**-2.0)
        assert ["twice" in text for text in one.told()] == [True, False]


def test_a_scale_may_change_and_be_that_of_divided_gradients():
    one = Judge(UnitHistory(), batch_size=16, processes=1)
    factors = np.array([1 / 512, 1 / 512, 1 / 1024, 1 / 256, 1 / 3 / 64])
    found = one.judge(with_norms(5, factors, units=3))
    np.testing.assert_allclose(found.clip_factor, 1.0)
    np.testing.assert_allclose(found.unit_sq[:, 0], factors**2)


def test_clipping_that_once_hits_a_power_of_two_is_clipping_before_and_after():
    factors = np.array([0.61, 0.33, 0.5, 0.21, 0.47])
    one = Judge(UnitHistory(), batch_size=16, processes=1)
    made = replace(with_norms(5, factors, units=1), total_sq=clipped_norms(factors))
    found = one.judge(made)
    np.testing.assert_allclose(found.clip_factor, [0.61, 0.33, 1.0, 0.21, 0.47])
    assert one.told() == []


def test_gradients_that_tensors_tell_apart_are_scaled_as_all_others():
    one = Judge(UnitHistory(), batch_size=16, processes=1)
    found = one.judge(with_norms(3, [1 / 128, np.nan, 1 / 128]))
    np.testing.assert_allclose(found.unit_sq[:, 0], 128.0**-2)


def test_what_states_of_earlier_versions_told_of_divisions_is_known():
    known = UnitHistory.from_plain({"divided": 4, "smaller": 0, "undivided": False, "shrunk": 0})
    one = Judge(known, batch_size=16, processes=1)
    np.testing.assert_allclose(one.judge(with_norms(1, 0.1)).clip_factor, 0.4)


@pytest.mark.parametrize(("factor", "known"), [(1.00004, True), (1.004, False)])
def test_gradients_that_grew_were_not_clipped(factor, known):
    found, one = judge([counted(4)], clip_factor=factor)
    assert np.isfinite(found.clip_factor).tolist() == [known]
    assert [f"{factor} times as large" in text for text in one.told()] == [True] * (not known)


@pytest.mark.parametrize("changes", [1, 2])
@pytest.mark.parametrize("factors", [8.0, 3.7, [1.313, 2.071, 5.413]])
def test_gradients_that_were_multiplied_by_more_than_1_are_those_that_were_used(factors, changes):
    """Where a second change may have clipped them the number is not known."""
    one = Judge(UnitHistory(), batch_size=16, processes=1)
    found = one.judge(with_norms(3, factors, changes))
    known = ~found.left_out
    np.testing.assert_allclose(found.unit_sq[known, 0], np.broadcast_to(factors, 3)[known] ** 2)
    np.testing.assert_allclose(found.clip_factor[known], 1.0)
    assert known.tolist() == ([True] * 3 if changes == 1 or factors in (8.0, 3.7) else [False] * 3)
    told = one.told()
    one_number = f"first by {factors:g}: " if isinstance(factors, float) else ""
    words = one_number or ("another number" if changes == 1 else "may have been clipped")
    assert [words in text for text in told] == [True]


def test_one_unit_is_not_divided():
    found, one = judge([counted(1)] * 3, clip_factor=1.0)
    assert (found.unit_sq == 1).all()
    assert one.told() == []


def test_more_gradient_than_units_can_bring_is_left_out():
    made = updates(counted(4), counted(4), counted(1))
    made = replace(made, total_sq=np.array([[3.9], [4.5], [9.0]]))
    one = Judge(UnitHistory(), batch_size=16, processes=1)
    assert one.judge(made).left_out.tolist() == [False, True, False]


def test_where_noise_is_not_measured_samples_alone_are_told_of():
    one = Judge(UnitHistory(), batch_size=32, processes=2, noise=False)
    one.judge(updates(counted(4), counted(2)))
    assert one.told() == []
    one.judge(updates(seen(2, 4, 4), seen(2, 4, 4)))
    assert len(one.told()) == 1


def test_another_number_of_processes_begins_anew():
    known = UnitHistory(2, {"8": 100})
    assert Judge(known, batch_size=16, processes=2).history.usual == 8
    assert Judge(known, batch_size=16, processes=1).history.usual == 0


def any_update():
    units = int(RNG.choice([1, 2, 4, 4, 4, 8]))
    kind = RNG.integers(6)
    if kind == 0:
        return counted(units)
    if kind == 1:
        return UnitShares(units, 1.0, 1 / units, 1 / 16, 16, units, units)
    if kind == 2:
        return UnitShares(float("nan"), float("nan"), float("nan"))
    if kind == 3:
        return seen(units, *RNG.choice([2, 2, 3], size=units).tolist())
    return seen(units, *[int(RNG.choice([4, 4, 3]))] * units)


def test_it_does_not_matter_how_updates_are_cut_up():
    for _ in range(50):
        shares = [any_update() for _ in range(30)]
        shares = [one._replace(changes=float(RNG.choice([1, 2]))) for one in shares]
        factors = RNG.choice([1.0, 0.25, 0.1, 0.123, 2.0**-10, 1e-4], size=30)
        whole, _ = judge(shares, clip_factor=factors)
        history, start = UnitHistory(), 0
        for stop in (*sorted(RNG.integers(1, 30, size=3).tolist()), 30):
            part = updates(*shares[start:stop], clip_factor=factors[start:stop])
            one = Judge(history, batch_size=16, processes=1)
            found = one.judge(part)
            for name in ("unit_sq", "samples", "share", "u", "v", "left_out", "clip_factor"):
                expected = getattr(whole, name)[start:stop]
                np.testing.assert_array_equal(getattr(found, name), expected, err_msg=name)
            history, start = (
                UnitHistory.from_plain(json.loads(json.dumps(asdict(one.history)))),
                stop,
            )
