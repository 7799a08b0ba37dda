import numpy as np
import pytest

from ultraslow.diffusion.noise import unit_estimates
from ultraslow.probes.buffer.window import Snapshot, Updates, empty_window, records_of, stacked

RNG = np.random.default_rng(0)


def updates(count, tensors=3):
    return Updates(
        unit_sq=RNG.random((count, tensors)),
        total_sq=RNG.random((count, tensors)),
        units=np.full(count, 2.0),
        sums=np.zeros((count, 0)),
        share=np.ones(count),
        u=np.full(count, 0.5),
        v=np.full(count, 1 / 8),
        samples=np.full(count, 8.0),
        left_out=np.zeros(count, dtype=bool),
        loss=RNG.random(count),
        nonfinite_losses=np.zeros(count),
        learning_rate=RNG.random(count),
        clip_factor=RNG.random(count),
        uneven_clipping=np.zeros(count, dtype=bool),
        loss_scale=np.full(count, np.nan),
        skipped=np.zeros(count, dtype=int),
    )


def snapshot(iteration, tensors=3):
    squares = RNG.random((2, tensors))
    return Snapshot(
        iteration, dict(zip(("distance_sq", "weight_sq"), squares, strict=True)), 1.0, 0.1
    )


def records_in_flushes(whole, snapshots, cuts):
    """The same updates and snapshots, handed over in flushes that end at `cuts`."""
    window, found, start = empty_window(3, 0.1), [], 0
    for cut in [*cuts, len(whole)]:
        due = [one for one in snapshots if start < one.iteration <= cut]
        part = whole.part(start, cut)
        rows, window = records_of(window, part, due, start=start, initial_sq=np.ones(3))
        found, start = found + rows, cut
    return stacked(found)


def test_window_means_equal_a_plain_average_however_flushes_fall():
    whole, snapshots = updates(20), [snapshot(4), snapshot(5), snapshot(17)]
    estimates = unit_estimates(whole.unit_sq, whole.total_sq, 0.5, 1 / 8)
    totals = np.stack([estimates.gradient_sq.sum(1), estimates.noise_trace.sum(1)])
    for cuts in ([], [4], [1, 2, 3], [4, 5], [10, 16]):
        found = records_in_flushes(whole, snapshots, cuts)
        for row, (start, stop) in enumerate([(0, 4), (4, 5), (5, 17)]):
            part = slice(start, stop)
            np.testing.assert_allclose(
                found["gradient_sq"][row], estimates.gradient_sq[part].mean(0)
            )
            np.testing.assert_allclose(
                found["noise_trace"][row], estimates.noise_trace[part].mean(0)
            )
            np.testing.assert_allclose(found["mean_sq"][row], whole.total_sq[part].mean(0))
            np.testing.assert_allclose(found["loss"][row], whole.loss[part].mean())
            np.testing.assert_allclose(found["clip_factor"][row], whole.clip_factor[part].mean())
            if stop - start > 1:
                covariance = np.cov(totals[:, part])
                np.testing.assert_allclose(found["gradient_sq_var"][row], covariance[0, 0])
                np.testing.assert_allclose(found["noise_trace_var"][row], covariance[1, 1])
                np.testing.assert_allclose(found["gradient_noise_cov"][row], covariance[0, 1])
        assert found["noise_updates"].tolist() == [4, 1, 12]
        np.testing.assert_allclose(
            found["learning_rate_sum"], np.cumsum(whole.learning_rate)[[3, 4, 16]]
        )
        assert found["samples"].tolist() == [32, 40, 136]


def test_an_update_of_one_unit_has_a_gradient_but_no_noise():
    part = updates(3)
    part.u[1] = 1.0
    (record,), _ = records_of(
        empty_window(3, 0.1), part, [snapshot(3)], start=0, initial_sq=np.ones(3)
    )
    assert record["noise_updates"] == 2
    np.testing.assert_allclose(record["mean_sq"], part.total_sq.mean(axis=0))
    assert np.isfinite(record["gradient_sq"]).all()


def test_overlap_is_the_inner_product():
    w, w0 = RNG.random(5), RNG.random(5)
    values = {"distance_sq": np.sum((w - w0) ** 2, keepdims=True), "weight_sq": w[None] @ w}
    (record,), _ = records_of(
        empty_window(1, 0.1),
        updates(0, tensors=1),
        [Snapshot(0, values, 0.0, 0.0)],
        start=0,
        initial_sq=np.array([np.sum(w0**2)]),
    )
    assert record["overlap"] == pytest.approx(w @ w0)
    assert np.isnan(record["loss"])
