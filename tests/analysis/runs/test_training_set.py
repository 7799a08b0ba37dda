"""Where a training set is fitted, and the phase that this ends."""

import numpy as np
import pytest

from ultraslow.analysis.runs import FITTED_SHARE, constant_rate, fitted_at, whole_constant_rate
from ultraslow.analysis.runs.readings import grouped
from ultraslow.diffusion.recording.schedule import log_spaced

SIZE, DATA = 128, 1280  # a pass is 10 updates


def losses(times, law, *, rng=None, scatter=0.0):
    """Mean losses of the updates between records, whose noise falls with their number.

    Samples lose alike at first, and scatter as they are learned.
    """
    loss = np.asarray(law(np.maximum(times, 1.0)))
    noise = 0.0 if rng is None else scatter * rng.standard_normal(times.size)
    updates = np.maximum(np.diff(times, prepend=0), 1)
    return loss * np.exp(noise * (1 - loss / loss.max()) / np.sqrt(updates))


def trained(make, law, *, last=10_000, calm=None, rng=None, scatter=0.0, **more):
    """A recording with a loss, and with gradient noise tr Σ that falls where `calm` says."""
    times = log_spaced(last)
    loss = losses(times, law, rng=rng, scatter=scatter)
    loss[0] = np.nan
    noise = 80 * (1.0 if calm is None else np.asarray(calm(np.maximum(times, 1.0))))
    trace = np.where(times > 0, noise, np.nan)[:, None] * [0.6, 0.3, 0.1]
    values = {"loss": loss, "noise_trace": trace, "loss_updates": np.diff(times, prepend=0)}
    given = {"batch_size": SIZE, "data_size": DATA, "last": last, "rate": 0.1}
    return make(**{**given, **values, **more})


def fitting(time, at=500.0):
    """A loss that falls slowly to 17 % of its start, and like 1/t from 4 % on, at an iteration."""
    return np.where(time < at, 2.3 / (1 + time / 100), 0.09 * at / time)


def vanishing(time, at=500.0):
    return 1 / (1 + (time / at) ** 2)


def neighbours(times, at):
    """The records within a third of a decade of an iteration."""
    return times[(times > at / 2) & (times < at * 2)]


def test_the_phase_ends_where_the_loss_is_at_a_twentieth_of_its_start(make):
    run = trained(make, fitting, calm=vanishing)
    times = run["iteration"].values
    assert fitted_at(run) == times[times < 500][-1]
    found = constant_rate(run)
    assert (found.iteration[0], found.iteration[-1]) == (1, fitted_at(run))
    assert found.fitted == fitted_at(run)
    assert found.rate == pytest.approx(0.1)
    assert whole_constant_rate(run).iteration[-1] == 10_000
    assert constant_rate(grouped(run)).fitted == found.fitted


@pytest.mark.parametrize("seed", range(20))
def test_noise_in_the_loss_moves_the_end_little(make, seed):
    rng = np.random.default_rng(seed)
    run = trained(make, fitting, calm=vanishing, rng=rng, scatter=0.7)
    assert fitted_at(run) in neighbours(run["iteration"].values, 500)


def test_a_spike_of_the_loss_is_no_return(make):
    run = trained(make, fitting, calm=vanishing)
    end = fitted_at(run)
    run["loss"].values[-10] = 5.0
    assert fitted_at(run) == end


def test_a_loss_that_rises_again_for_long_was_not_fitted_before(make):
    back = lambda t: np.where((t > 2000) & (t < 5000), 1.0, fitting(t))  # noqa: E731
    run = trained(make, back, calm=vanishing)
    assert fitted_at(run) > 4000


# None of these has fitted its training set.
UNFITTED = {
    "slow": lambda t: 2.3 * t**-0.1,
    "a floor above": lambda t: 0.3 + 2 / (1 + t / 50),
    "a floor below": lambda t: 0.04 + 2.3 * np.exp(-t / 100),
    "a language model of large outputs": lambda t: 2.9 + 8 * t**-0.3 + 400 * np.exp(-t / 8),
    "only for a moment": lambda t: np.where((t > 2000) & (t < 3000), 0.1, 2.0),
    "a likelihood of densities": lambda t: 2.0 - np.log(t),
}


@pytest.mark.parametrize("case", UNFITTED)
@pytest.mark.parametrize("noise", ["recorded", "not recorded"])
def test_other_losses_end_nothing(make, case, noise):
    more = {} if noise == "recorded" else {"noise_trace": None, "noise_updates": None}
    run = trained(make, UNFITTED[case], **more)
    assert fitted_at(run) == 0
    assert constant_rate(run).iteration[-1] == 10_000


def test_a_single_pass_fits_nothing(make):
    run = trained(make, fitting, calm=vanishing, data_size=SIZE * 20_000)
    assert fitted_at(run) == 0


def test_gradients_that_keep_their_noise_say_that_samples_are_not_fitted(make):
    assert fitted_at(trained(make, fitting)) == 0
    unknown = trained(make, fitting, noise_trace=None, noise_updates=None)
    assert fitted_at(unknown) > 0


def test_the_potential_of_a_walk_is_no_training_loss(make):
    run = trained(make, fitting, noise_trace=None, noise_updates=None, loss_updates=None)
    assert fitted_at(run) == 0
    assert fitted_at(make(loss=None)) == 0


def test_a_training_set_whose_size_is_unknown_may_be_fitted(make):
    known, unknown = (
        trained(make, fitting, calm=vanishing, data_size=size) for size in (DATA, None)
    )
    assert fitted_at(unknown) == fitted_at(known)


def test_the_longest_phase_is_chosen_before_the_end(make):
    times = log_spaced(10_000)
    rates = np.where(times <= 100, 0.1, 0.01)
    summed = np.concatenate([[0.0], np.cumsum(np.where(np.arange(1, 10_001) <= 100, 0.1, 0.01))])
    more = {"calm": vanishing, "learning_rate": rates, "learning_rate_sum": summed[times]}
    assert constant_rate(trained(make, UNFITTED["slow"], **more)).rate == 0.1
    late = {**more, "learning_rate": np.where(times <= 4, 0.1, 0.01)}
    late["learning_rate_sum"] = np.cumsum(late["learning_rate"] * np.diff(times, prepend=0))
    found = constant_rate(trained(make, fitting, **late))
    assert (found.rate, found.fitted, found.iteration[-1]) == (0.01, 479, 479)


def test_a_rate_that_is_constant_only_afterwards_leaves_nothing(make):
    times = log_spaced(10_000)
    rates = np.where(times < 3000, 0.0, 0.1)
    found = constant_rate(trained(make, fitting, calm=vanishing, learning_rate=rates))
    assert found.iteration.size == 0
    assert found.rate == pytest.approx(0.1)
    assert "the training set is fitted by iteration" in found.reason
    assert f"{FITTED_SHARE:.0%}" in found.reason
