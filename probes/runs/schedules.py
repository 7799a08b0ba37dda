"""Learning rates over a run, and how long a run is: pure functions of the iteration.

Iterations are updates; iteration 1 is the first one, T the last.
"""

import math
from collections.abc import Sequence


def warm_up(iteration: int, length: int) -> float:
    """The factor of a linear warm-up, min(1, t / length).

    Arguments:
        iteration: t, 1 or more.
        length: iterations until the full rate is reached; 0 for none.

    >>> [warm_up(t, 4) for t in (1, 2, 4, 9)]
    [0.25, 0.5, 1.0, 1.0]
    """
    return min(1.0, iteration / length) if length else 1.0


def step_decay(iteration: int, milestones: Sequence[int], factor: float) -> float:
    """The factor of a decay in steps, factor^k after k milestones have passed.

    Arguments:
        iteration: t, 1 or more.
        milestones: iterations after which the rate is multiplied.
        factor: what it is multiplied by at each.

    >>> [step_decay(t, (10, 20), 0.5) for t in (10, 11, 20, 21)]
    [1.0, 0.5, 0.5, 0.25]
    """
    return factor ** sum(iteration > milestone for milestone in milestones)


def polynomial_decay(iteration: int, last: int, power: float) -> float:
    """The factor of a polynomial decay, (1 − (t − 1)/T)^power: 1 at the first update.

    Arguments:
        iteration: t, from 1 to T.
        last: T, iterations of the run.
        power: 1 falls linearly, 2 is the square that large-batch recipes use.

    >>> [polynomial_decay(t, 4, 2) for t in (1, 3)]
    [1.0, 0.25]
    """
    return (1 - (iteration - 1) / last) ** power


def cosine_decay(iteration: int, last: int) -> float:
    """The factor of half a cosine, (1 + cos(π·(t − 1)/T))/2: 1 at the first update.

    Arguments:
        iteration: t, from 1 to T.
        last: T, iterations of the run.

    References:
        Loshchilov and Hutter (2017), SGDR: stochastic gradient descent with warm restarts, eq. 5.

    >>> round(cosine_decay(3, 4), 12)
    0.5
    """
    return (1 + math.cos(math.pi * (iteration - 1) / last)) / 2


def iterations_of(epochs: float, *, data_size: int, batch_size: int) -> int:
    """The updates in so many passes over the training set, ⌈E·⌊D/M⌋⌉.

    An incomplete last batch of an epoch is left out, so an epoch has ⌊D/M⌋ updates.

    Arguments:
        epochs: E, passes over the training set.
        data_size: D, samples.
        batch_size: M, samples.

    >>> iterations_of(2, data_size=1000, batch_size=300)
    6
    """
    return math.ceil(epochs * (data_size // batch_size))


def adapted_epochs(epochs: float, *, batch_size: int, base_batch_size: int) -> float:
    """The passes that give a larger batch as many updates, E·M/M₀ (regime adaptation).

    Arguments:
        epochs: E, passes at the base batch size.
        batch_size: M, samples.
        base_batch_size: M₀, samples.

    References:
        Hoffer, Hubara and Soudry (2017), Train longer, generalize better.

    >>> adapted_epochs(80, batch_size=4096, base_batch_size=128)
    2560.0
    """
    return epochs * batch_size / base_batch_size


def milestones_of(fractions: str, last: int) -> tuple[int, ...]:
    """Iterations at fractions of a run, given as text.

    Arguments:
        fractions: numbers between 0 and 1, in increasing order, separated by commas.
        last: T, iterations of the run.

    Raises:
        ValueError: when the text is anything else.

    >>> milestones_of("0.5, 0.75", 200)
    (100, 150)
    """
    try:
        numbers = [float(part) for part in fractions.split(",")]
    except ValueError:
        numbers = []
    inside = all(0 < number < 1 for number in numbers)
    if not numbers or not inside or numbers != sorted(numbers):
        raise ValueError(
            f"milestones: found {fractions!r}, expected increasing fractions of the run between"
            " 0 and 1, as in 0.5,0.75"
        )
    return tuple(round(number * last) for number in numbers)
