import numpy as np
import pytest

from ultraslow.diffusion.sketch import (
    SquaredDistances,
    buckets_and_signs,
    distance_between,
    shifts,
    splitmix64,
    two_time,
    two_time_refined,
)

MASK = 2**64 - 1


def word(seed, n):
    """SplitMix64 in Python's unbounded integers."""
    z = (seed + (n + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def bucket_and_sign(i, k, seed):
    """The definition, one index at a time."""
    row, column = divmod(i, k)
    sign_word = word(seed, (row // 32) * k + column)
    shift = ((word(word(seed, -1), row) >> 32) * k) >> 32
    return (column + shift) % k, -1.0 if (sign_word >> (63 - row % 32)) & 1 else 1.0


def sketch(x, k, seed):
    buckets, signs = buckets_and_signs(np.arange(len(x)), components=k, seed=seed)
    return np.bincount(buckets, weights=signs * x, minlength=k)


def test_splitmix_gives_the_published_sequence():
    # Five outputs of the generator from seed 1234567, as public descriptions of it list them.
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert splitmix64(1234567, range(5)).tolist() == published


@pytest.mark.parametrize("k", [1, 3, 64, 1000, 1024])
@pytest.mark.parametrize("seed", [0, 7, -1, 2**63 + 5])
def test_buckets_and_signs_against_unbounded_integers(k, seed):
    indices = [0, 1, k - 1, k, 31 * k, 32 * k + k // 2, 10**6, 25_600_000, 2**40 + 3]
    expected = [bucket_and_sign(i, k, seed % 2**64) for i in indices]
    buckets, signs = buckets_and_signs(indices, components=k, seed=seed)
    assert list(zip(buckets.tolist(), signs.tolist(), strict=True)) == expected


def test_buckets_and_signs_are_uniform():
    buckets, signs = buckets_and_signs(np.arange(64_000), components=64, seed=1)
    # Each row visits every bucket once: exactly 1000 indices a bucket.
    assert np.bincount(buckets).tolist() == [1000] * 64
    assert abs(signs.sum()) < 4 * np.sqrt(64_000)
    counts = np.bincount(shifts(np.arange(64_000), components=64, seed=1), minlength=64)
    # Pearson's statistic has mean 63 and variance 126.
    assert abs(np.sum((counts - 1000) ** 2) / 1000 - 63) < 4 * np.sqrt(126)


def vectors(size=4096, k=64):
    rng = np.random.default_rng(5)
    column = np.zeros(size)
    column[3::k] = rng.standard_normal(size // k)  # one input of a linear layer, all in one column
    few = np.zeros(size)
    few[[5, 900, 901, 4000]] = [3.0, -1.0, 2.0, 1.0]
    return {
        "spread": rng.standard_normal(size),
        "heavy tailed": rng.standard_t(2.5, size),
        "one column": column,
        "few weights": few,
        "constant": np.ones(size),
        "repeated rows": np.tile(rng.standard_normal(k), size // k),
    }


@pytest.mark.parametrize("name", vectors())
def test_mean_variance_and_coverage_over_seeds(name):
    k, seeds = 64, 3000
    x = vectors()[name]
    truth = np.sum(x**2)
    rows = np.sum(x.reshape(-1, k) ** 2, axis=1)
    variance = 2 / k * (truth**2 - np.sum(rows**2))
    sketches = np.array([sketch(x, k, seed) for seed in range(seeds)])
    estimate = distance_between(sketches, np.zeros(k))
    error = estimate.value - truth
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(seeds)
    spread = np.std(error**2) / np.sqrt(seeds)  # standard error of the variance found
    assert abs(np.mean(error**2) - variance) < 4 * spread
    # The stated variance is an upper bound on average, and nearly reached by spread vectors.
    assert np.mean(estimate.standard_error**2) > variance - 4 * spread
    # 2 standard errors around the truth; for few weights the error takes few values.
    covered = np.mean(np.abs(error) <= 2 * estimate.standard_error)
    assert covered > 0.93
    if name == "spread":
        assert np.mean(estimate.standard_error**2) == pytest.approx(variance, rel=0.08)
        assert covered < 0.98


def test_weights_of_one_row_never_meet():
    x = np.random.default_rng(0).standard_normal(64)
    assert distance_between(sketch(x, 64, 3), np.zeros(64)).value == pytest.approx(
        np.sum(x**2), rel=1e-14
    )


def test_sketches_are_linear():
    x, y = np.random.default_rng(0).standard_normal((2, 500))
    expected = sketch(x, 32, 1) - 2 * sketch(y, 32, 1)
    np.testing.assert_allclose(sketch(x - 2 * y, 32, 1), expected, atol=1e-13)


def test_two_time_is_between_for_every_pair():
    y = np.random.default_rng(0).standard_normal((5, 16))
    matrix = two_time(y)
    for s in range(5):
        for t in range(5):
            pair = distance_between(y[s], y[t])
            assert matrix.value[s, t] == pytest.approx(pair.value, rel=1e-13)
            assert matrix.standard_error[s, t] == pytest.approx(pair.standard_error, rel=1e-13)


def test_a_small_step_far_away_keeps_its_digits():
    y = np.full((2, 16), 1e6)
    y[1, 0] += 1e-4
    assert two_time(y).value[0, 1] == pytest.approx(1e-8, rel=1e-5)


def path(kind, size=8192):
    """Displacements from w_0 at six times, of which the first is 0."""
    rng = np.random.default_rng(0)
    times = np.array([0, 1, 2, 4, 8, 24])
    steps = rng.standard_normal((6, size)) * np.sqrt(np.diff(times, prepend=0))[:, None]
    if kind == "drift":
        steps += 0.5 * np.diff(times, prepend=0)[:, None] * rng.standard_normal(size)
    if kind == "layers":  # few weights that move a hundred times as far as the others
        steps *= np.where(np.arange(size) % 7 == 0, 100, 1) * np.abs(rng.standard_t(3, size))
    return np.cumsum(steps, axis=0)


@pytest.mark.parametrize("kind", ["walk", "drift", "layers"])
def test_refined_distances_are_calibrated_and_no_worse(kind):
    x = path(kind)
    truth = np.sum((x[:, None] - x) ** 2, axis=-1)
    pairs = tuple(index[5:] for index in np.triu_indices(6, 1))  # those without time 0
    scores, direct, refined = [], [], []
    for seed in range(400):
        y = np.array([sketch(row, 256, seed) for row in x])
        found, plain = two_time_refined(y, truth[0]), two_time(y)
        error = (found.value - truth)[pairs]
        scores.append(error / found.standard_error[pairs])
        refined.append(error / truth[pairs])
        direct.append((plain.value - truth)[pairs] / truth[pairs])
    # 400 seeds of 10 correlated pairs: a standard error of about 1 % for the coverage and 4 % for
    # a deviation; the bias of order 1/k is an eighth of a standard error.
    assert np.mean(np.abs(scores) < 1.96) == pytest.approx(0.95, abs=0.025)
    assert np.all(np.abs(np.mean(scores, axis=0)) < 0.125 + 4 / np.sqrt(400))
    assert np.all(np.abs(np.std(scores, axis=0) - 1) < 0.16)
    ratio = np.std(refined, axis=0) / np.std(direct, axis=0)
    assert np.all(ratio < 1.05)
    assert ratio.min() < 0.5


def test_refined_distances_from_the_initial_weights_are_exact():
    x = path("walk")
    m = np.sum(x**2, axis=1)
    found = two_time_refined([sketch(row, 64, 1) for row in x], m)
    np.testing.assert_allclose(found.value[0], m, rtol=1e-14)
    assert found.standard_error[0].tolist() == [0.0] * 6
    assert np.diag(found.value).tolist() == np.diag(found.standard_error).tolist() == [0.0] * 6
    np.testing.assert_allclose(found.value, found.value.T)


def test_refined_distances_are_the_maximum_of_the_likelihood():
    x, k = path("walk")[[2, 5]], 64
    m = np.sum(x**2, axis=1)
    y = np.array([sketch(row, k, 1) for row in x])
    products = np.linspace(-0.999, 0.999, 200_001) * np.sqrt(m[0] * m[1])
    determinant = m[0] * m[1] - products**2
    misfit = m[1] * y[0] @ y[0] - 2 * products * (y[0] @ y[1]) + m[0] * y[1] @ y[1]
    best = products[np.argmax(-np.log(determinant) - misfit / determinant)]
    found = two_time_refined(y, m).value[0, 1]
    assert found == pytest.approx(m[0] + m[1] - 2 * best, rel=1e-4)


def test_refined_distances_of_close_times_are_the_direct_ones():
    x = path("walk")[[5, 5]]
    x[1] += 1e-3 * np.random.default_rng(0).standard_normal(x.shape[1])
    y = np.array([sketch(row, 64, 1) for row in x])
    found, plain = two_time_refined(y, np.sum(x**2, axis=1)), two_time(y)
    assert found.value[0, 1] == plain.value[0, 1]
    assert found.standard_error[0, 1] == plain.standard_error[0, 1]


def test_sketches_that_keep_the_norms_give_the_cosine_they_have():
    # With ‖y_t‖² = m_t the cubic is (ρ − ρ̂)(ρ² + 1) = 0.
    y = np.random.default_rng(1).standard_normal((4, 16))
    m = np.sum(y**2, axis=1)
    found = two_time_refined(y, m)
    np.testing.assert_allclose(found.value, two_time(y).value, rtol=1e-12, atol=1e-12)
    scale = np.sqrt(np.outer(m, m))
    rho = y @ y.T / scale
    error = np.sqrt(4 / 16 * scale**2 * (1 - rho**2) ** 2 / (1 + rho**2))
    apart = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose(found.standard_error[apart], error[apart], rtol=1e-12)


@pytest.mark.parametrize(("share", "known"), [(0.009, False), (0.011, True)])
def test_known_norms_count_from_a_hundredth_of_the_larger_on(share, known):
    # Two displacements along a line, the second longer, their squared distance a share of it.
    y = np.array([[1 - share**0.5, 0.0, 0.0], [1.0, 0.0, 0.0]])
    found, plain = two_time_refined(y, np.sum(y**2, axis=1)), two_time(y)
    assert plain.value[0, 1] == pytest.approx(share)
    assert (found.standard_error[0, 1] < plain.standard_error[0, 1]) == known


def test_the_seed_is_zero_unless_told_otherwise():
    for found, expected in zip(
        buckets_and_signs(range(9), components=4),
        buckets_and_signs(range(9), components=4, seed=0),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


def test_messages():
    with pytest.raises(ValueError, match=r"first, second: found shapes \(3,\), \(4,\)"):
        distance_between(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match=r"sketches: found shape \(3,\)"):
        two_time(np.zeros(3))
    with pytest.raises(ValueError, match="expected 2 numbers, none negative"):
        two_time_refined(np.zeros((2, 8)), [0.0])
    with pytest.raises(ValueError, match="expected 2 numbers, none negative"):
        two_time_refined(np.zeros((2, 8)), [0.0, -1.0])
    with pytest.raises(ValueError, match="components: found 0"):
        buckets_and_signs([1], components=0)


def test_shapes_follow_the_sketches():
    found = distance_between(np.zeros((4, 1, 8)), np.ones((3, 8)))
    assert isinstance(found, SquaredDistances)
    assert found.value.shape == found.standard_error.shape == (4, 3)
