"""The falsifiable claims about how weights move, as values: statement, source, test.

P1 to P10 follow from the picture of Hoffer, Hubara and Soudry (2017), a walk on a random potential
with E‖w_t − w_0‖² ∝ (ln t)^{4/α}. H-a, H-b and H-c are hypotheses about the limit of the batch
size: You et al. (2020) state in their abstract that their experiments contradict conclusions of
Hoffer et al.; which experiment contradicts which claim has not been compared with their text, so
the hypotheses are worded for this project and are not quotations.

Symbols: d(t) = ‖w_t − w_0‖, M batch size, D training-set size, η learning rate, B noise scale,
T temperature, c·r^γ the standard deviation of the loss difference at distance r, γ = α/2.
"""

from collections.abc import Collection
from dataclasses import dataclass

HOFFER = "Hoffer, Hubara and Soudry (2017), Train longer, generalize better, arXiv 1705.08741"
YOU = "You et al. (2020), The Limit of the Batch Size, arXiv 2006.08517"


@dataclass(frozen=True)
class Prediction:
    """One claim that recordings can contradict.

    Attributes:
        key: P1 … P10, P1', P2', H-a, H-b or H-c.
        title: in a few words.
        statement: what is claimed.
        measurement: what decides it.
        contradicted_by: the finding that speaks against it.
        needs: recorded fields without which a run takes no part.
        arms: what the set of runs has to contain.
        source: where the claim comes from.
        derived: whether the claim is worked out here rather than stated in the source.
        scalings: rules from batch size to learning rate that it is about; any when empty.
        iterations: least number of updates at a constant rate; a run of fewer takes no part.
    """

    key: str
    title: str
    statement: str
    measurement: str
    contradicted_by: str
    needs: tuple[str, ...]
    arms: tuple[str, ...]
    source: str
    derived: bool = False
    scalings: tuple[str, ...] = ()
    iterations: int = 0


_DISTANCE = ("iteration", "distance_sq", "learning_rate")
_SEEDS = "several seeds an arm"
_CONSTANT = "a phase of constant learning rate over 2.5 decades of iterations or more"
_SIZES = "two batch sizes or more"
# The least of updates that the rules ask for: 2 and 2.5 decades of them, and 2.5 after the tenth.
_TWO_DECADES, _LONG, _AGING = 100, 317, 3163

P1 = Prediction(
    "P1",
    "Logarithmic growth",
    "In the initial phase of high learning rate the distance grows like (ln t)^(2/α); α = 2 gives"
    " d ∝ ln t. The exponent p = 0 of the growth family is this case α = 2 alone: with α < 2 the"
    " distance bends above a logarithm, so an interval of p that excludes 0 contradicts α = 2 and"
    " not, by itself, every power of ln t.",
    "exponent p of the growth family with its interval, across seeds, and by how much powers of t"
    " fit better than curves that become a logarithm by a fifth of the iterations",
    "an interval of p beyond a margin around 0 (for α = 2), with powers that fit better",
    _DISTANCE,
    (_CONSTANT, _SEEDS),
    HOFFER,
    iterations=_LONG,
)
P1_PRIME = Prediction(
    "P1'",
    "Growth and landscape agree",
    "Where d ∝ (ln t)^q, the exponent α of the landscape, measured by itself at the distances"
    " travelled, satisfies q·α = 2.",
    "joint interval of q and α",
    "an interval of q·α that excludes 2",
    (*_DISTANCE, "loss_difference"),
    (_CONSTANT, "landscape records at several radii"),
    HOFFER,
    derived=True,
    iterations=_LONG,
)
P2 = Prediction(
    "P2",
    "Batch sizes coincide under √M",
    "With learning rates η ∝ √M and ghost batch normalization the distance curves of all batch"
    " sizes coincide at equal iterations.",
    "ratio of the largest to the smallest distance at equal iterations, against the spread of"
    " seeds; the part explained by (1 + M/B)",
    "a spread beyond that of seeds",
    (*_DISTANCE, "batch_size", "scaling"),
    (_SIZES, _SEEDS, "scaling sqrt"),
    HOFFER,
    scalings=("sqrt",),
    iterations=_TWO_DECADES,
)
P2_PRIME = Prediction(
    "P2'",
    "Batch sizes coincide under η ∝ M",
    "With η ∝ M the temperature is the same at every batch size, so distance curves coincide in"
    " the summed learning rate and their log-slopes are equal.",
    "as for P2, over the summed learning rate",
    "log-slopes that differ beyond the spread of seeds",
    ("iteration", "distance_sq", "learning_rate_sum", "batch_size", "scaling"),
    (_SIZES, _SEEDS, "scaling linear"),
    HOFFER,
    derived=True,
    scalings=("linear",),
    iterations=_TWO_DECADES,
)
P3 = Prediction(
    "P3",
    "Equal updates close the gap",
    "Large batches generalize as well as small ones when trained for as many updates.",
    "difference of held-out accuracy with its interval, both arms with a tuned learning rate",
    "a gap that remains at equal updates, or one that closes without them",
    ("held_out", "batch_size", "iteration"),
    (_SIZES, "five seeds an arm or more", "tuned learning rates", "equal updates, equal epochs"),
    HOFFER,
)
P4 = Prediction(
    "P4",
    "Loss differences grow with distance",
    "The standard deviation of the loss difference grows like r^γ with γ = 1 up to the distances"
    " travelled. At small r this holds for any differentiable loss and says nothing.",
    "local exponent γ(r) beyond the curvature crossover, noise floor removed, along random and"
    " trajectory directions",
    "γ(r) other than 1 beyond the crossover, or loss differences without changes of sign",
    ("loss_difference", "distance_sq"),
    ("landscape records up to the distance reached", "directions of several kinds"),
    HOFFER,
)
P5 = Prediction(
    "P5",
    "Slopes rise with temperature",
    "On a fixed landscape the log-slope is ∝ T^(2/α), T ∝ η/M.",
    "log-slopes on a grid of learning rates and batch sizes, and of injected isotropic noise",
    "an interval of the exponent that excludes 2/α",
    (*_DISTANCE, "batch_size", "seed"),
    ("several temperatures", _CONSTANT, _SEEDS),
    HOFFER,
    derived=True,
    iterations=_LONG,
)
P6 = Prediction(
    "P6",
    "No noise, no growth",
    "Full-batch gradient descent from the same state stops at the distance of a local minimum.",
    "distance of descent without noise against that with noise",
    "descent without noise that grows by the same law",
    (*_DISTANCE, "batch_size", "data_size", "seed"),
    ("a noise-free arm", "a noisy arm from the same state"),
    HOFFER,
    derived=True,
    iterations=_LONG,
)
P7 = Prediction(
    "P7",
    "Barriers are crossed",
    "The logarithm of the time between two states is proportional to the barrier between them over"
    " T.",
    "barrier along a path between w_t and w_{t+Δ}, against T·ln Δt; both ΔL and Δ ln L",
    "barriers near zero or far below T",
    ("line_loss", "noise_trace", "learning_rate"),
    ("weights at several iterations",),
    HOFFER,
    derived=True,
)
P8 = Prediction(
    "P8",
    "The motion ages",
    "The displacement ‖w_{s+τ} − w_s‖² after a waiting time s depends on ln τ/ln s.",
    "collapse of the two-time displacement, over ln τ/ln s, τ/s and τ",
    "a better collapse over τ (stationary) or τ/s",
    ("sketch", "distance_sq", "learning_rate"),
    ("trajectory records at log-spaced times",),
    HOFFER,
    derived=True,
    iterations=_AGING,
)
P9 = Prediction(
    "P9",
    "Random, not driven",
    "The straightness R = ‖w_t − w_0‖²/Σ‖Δw_s‖² is far below 1 and falls.",
    "R over iterations, and the autocorrelation of the updates",
    "R near 1 or above, where nothing holds the weights back, or R above 1/3 that does not fall",
    ("step_sq", "learning_rate"),
    (_CONSTANT,),
    HOFFER,
    derived=True,
    iterations=_LONG,
)
P10 = Prediction(
    "P10",
    "Slope, temperature and landscape close",
    "At α = 2 the log-slope is T/c, with c the standard deviation of loss differences a distance.",
    "the three measured independently",
    "a mismatch beyond a factor of 3",
    (*_DISTANCE, "noise_trace", "loss_difference"),
    (_CONSTANT, "landscape records", "noise records"),
    HOFFER,
    derived=True,
    iterations=_LONG,
)
H_A = Prediction(
    "H-a",
    "Equal updates do not suffice",
    "As M approaches D, equal updates do not reach the accuracy of small batches.",
    "difference of held-out accuracy at equal updates over a ladder of batch sizes up to D",
    "equal accuracy at equal updates up to the full batch",
    ("held_out", "batch_size", "data_size", "iteration"),
    (
        "a small batch size and one of half of the training set or more",
        "five seeds an arm or more",
    ),
    YOU,
    derived=True,
)
H_B = Prediction(
    "H-b",
    "Huge batches leave the common curve",
    "At huge M the distance is not logarithmic or not on the curve of the other batch sizes.",
    "exponent p at huge M, and its distance against the common curve",
    "a logarithm on the common curve",
    (*_DISTANCE, "batch_size", "data_size", "scaling"),
    ("a batch size near D", _SIZES, _SEEDS),
    YOU,
    derived=True,
    scalings=("sqrt", "exact_sqrt"),
    iterations=_TWO_DECADES,
)
H_C = Prediction(
    "H-c",
    "Accuracy without distance",
    "Better accuracy is reached with an equal or smaller distance, against the argument that"
    " weights must travel far to find a wide minimum.",
    "accuracy and distance of pairs of arms",
    "accuracy that rises with distance in every pair",
    ("held_out", "distance_sq", "batch_size"),
    ("arms that differ in accuracy", _SEEDS),
    YOU,
    derived=True,
)

PREDICTIONS: dict[str, Prediction] = {
    p.key: p
    for p in (
        *(P1, P1_PRIME, P2, P2_PRIME, P3, P4, P5, P6, P7, P8, P9, P10),
        *(H_A, H_B, H_C),
    )
}

# Fields that serve where another is needed: displacements that were measured are better than those
# that a sketch estimates.
INSTEAD = {"sketch": "displacement_sq"}


def lacking(fields: Collection[str], scaling: str = "") -> dict[str, tuple[str, ...]]:
    """What a run lacks to take part in each prediction, however many others there are.

    Arguments:
        fields: names of what its recording holds.
        scaling: its rule from batch size to learning rate; unknown when empty.

    Returns:
        By key the fields it lacks, in the order of `needs`, with `scaling` where its rule is not
        one that the prediction is about; empty where it can take part.

    >>> lacking(["iteration", "distance_sq", "learning_rate", "step_sq"])["P9"]
    ()
    """
    found = {}
    for key, prediction in PREDICTIONS.items():
        held = {*fields, *(name for name, other in INSTEAD.items() if other in fields)}
        absent = [name for name in prediction.needs if name not in held]
        if scaling and prediction.scalings and scaling not in prediction.scalings:
            absent.append("scaling")
        found[key] = tuple(dict.fromkeys(absent))
    return found
