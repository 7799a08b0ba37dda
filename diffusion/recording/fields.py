"""What a recording may hold: every variable with its dimensions, type, unit and meaning."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """One declared variable of a recording."""

    name: str
    dims: tuple[str, ...]
    dtype: str
    units: str
    meaning: str
    cell_method: str = ""
    required: bool = False

    @property
    def summed(self) -> bool:
        """Whether it is added over the window; two windows that become one add theirs."""
        return self.cell_method == _SUM


_POINT = "iteration: point"
_MEAN = "iteration: mean"
_SUM = "iteration: sum"
_VARIANCE = "iteration: variance"
_IT = ("iteration",)
_TENSOR = ("tensor",)
_ITxT = ("iteration", "tensor")

_DECLARED = (
    # coordinates along the dimensions
    Field(
        "iteration",
        _IT,
        "i8",
        "1",
        "committed optimizer updates; 0 is the initial state",
        "",
        True,
    ),
    Field("tensor", _TENSOR, "str", "", "name of the parameter tensor", "", True),
    Field("tensor_size", _TENSOR, "i8", "1", "number of weights in the tensor", "", True),
    # weights
    Field(
        "distance_sq", _ITxT, "f8", "1", "squared distance from the initial weights", _POINT, True
    ),
    Field("weight_sq", _ITxT, "f8", "1", "squared norm of the weights", _POINT, True),
    Field(
        "overlap", _ITxT, "f8", "1", "inner product of weights and initial weights", _POINT, True
    ),
    Field("step_sq", _ITxT, "f8", "1", "squared lengths of single updates, added", _SUM),
    Field("sketch", ("iteration", "component"), "f8", "1", "count sketch of w − w0", _POINT),
    Field("since", ("since",), "i8", "1", "iteration from which a displacement is measured"),
    Field(
        "displacement_sq",
        ("iteration", "since"),
        "f8",
        "1",
        "squared distance of the weights from those of another iteration",
        _POINT,
    ),
    # gradient noise
    Field(
        "gradient_sq", _ITxT, "f8", "1", "unbiased signed estimate of the squared gradient", _MEAN
    ),
    Field(
        "noise_trace", _ITxT, "f8", "1", "unbiased signed trace of the gradient covariance", _MEAN
    ),
    Field(
        "mean_sq", _ITxT, "f8", "1", "squared norm of the update's gradient before clipping", _MEAN
    ),
    Field("gradient_sq_var", _IT, "f8", "1", "variance of the total gradient_sq", _VARIANCE),
    Field("noise_trace_var", _IT, "f8", "1", "variance of the total noise_trace", _VARIANCE),
    Field(
        "gradient_noise_cov",
        _IT,
        "f8",
        "1",
        "covariance of total gradient_sq and noise_trace",
        _VARIANCE,
    ),
    Field("units", _IT, "f8", "1", "units (independently sampled parts) in an update", _MEAN),
    Field("unit_size", _IT, "f8", "1", "samples in a unit", _MEAN),
    Field("noise_updates", _IT, "i8", "1", "updates with a finite noise estimate", _SUM),
    Field(
        "noise_left_out",
        _IT,
        "i8",
        "1",
        "updates left out of the noise, as what their units hold is not known",
        _SUM,
    ),
    Field("nonfinite_gradients", _IT, "i8", "1", "updates with an inf or NaN gradient", _SUM),
    # training
    Field("loss", _IT, "f8", "1", "training loss", _MEAN),
    Field("loss_var", _IT, "f8", "1", "variance of the training loss", _VARIANCE),
    Field("loss_updates", _IT, "i8", "1", "updates with a finite observed loss", _SUM),
    Field("nonfinite_losses", _IT, "i8", "1", "updates with an inf or NaN loss", _SUM),
    Field("learning_rate", _IT, "f8", "1", "learning rate of the first parameter group", _POINT),
    Field("group", ("group",), "i8", "1", "number of a parameter group of the optimizer"),
    Field(
        "group_learning_rate",
        ("iteration", "group"),
        "f8",
        "1",
        "learning rate of each parameter group",
        _POINT,
    ),
    Field("tensor_group", _TENSOR, "i8", "1", "parameter group that trains the tensor"),
    Field("learning_rate_sum", _IT, "f8", "1", "learning rate summed since iteration 0", _POINT),
    Field(
        "clip_factor",
        _IT,
        "f8",
        "1",
        "factor that clipping applied to the gradient, unknown where there were several",
        _MEAN,
    ),
    Field("loss_scale", _IT, "f8", "1", "loss scale of mixed precision", _MEAN),
    Field("skipped", _IT, "i8", "1", "optimizer steps skipped by mixed precision", _SUM),
    Field("samples", _IT, "f8", "1", "samples consumed since iteration 0", _POINT),
    Field("epoch", _IT, "f8", "1", "passes over the training set since iteration 0", _POINT),
    Field("wall_time", _IT, "f8", "s", "time since the probes were attached", _POINT),
    Field(
        "probe_seconds",
        _IT,
        "f8",
        "s",
        "host time spent in probes since they were attached",
        _POINT,
    ),
    # measured on a schedule of its own; NaN at records where it was not due
    Field("metric", ("metric",), "str", "", "name of a held-out quantity"),
    Field("held_out", ("iteration", "metric"), "f8", "1", "quantity of the evaluation", _POINT),
    Field("ensemble", ("ensemble",), "str", "", "kind of directions the loss was measured along"),
    Field("direction", ("direction",), "i8", "1", "number of a direction of an ensemble"),
    Field("radius", ("radius",), "f8", "1", "distance the weights were moved along a direction"),
    Field(
        "loss_difference",
        ("iteration", "ensemble", "radius", "direction"),
        "f8",
        "1",
        "loss at a radius less the loss at the weights",
        _POINT,
    ),
    Field("center_loss", ("iteration", "ensemble"), "f8", "1", "loss at the weights", _POINT),
    Field(
        "difference_noise",
        ("iteration", "ensemble"),
        "f8",
        "1",
        "standard deviation of a loss difference at radius 0",
        _POINT,
    ),
    Field("fraction", ("fraction",), "f8", "1", "place on a line between two checkpoints"),
    Field(
        "line_loss",
        ("iteration", "fraction"),
        "f8",
        "1",
        "loss on the straight line from the checkpoint before (w0 for the first) to the weights",
        _POINT,
    ),
    Field(
        "scale_invariant",
        _TENSOR,
        "i8",
        "1",
        "1 where a normalization makes the tensor's length irrelevant, else 0",
    ),
    # what analysis groups by
    Field("run", (), "str", "", "name of the run", "", True),
    Field("batch_size", (), "i8", "1", "samples in an update, M", "", True),
    Field("world_size", (), "i8", "1", "processes that trained the run"),
    Field("base_learning_rate", (), "f8", "1", "learning rate at the first update"),
    Field("scaling", (), "str", "", "rule from batch size to learning rate"),
    Field("seed", (), "i8", "1", "seed of the run"),
    Field("model", (), "str", "", "name of the network"),
    Field("data", (), "str", "", "name of the data set"),
    Field("data_size", (), "i8", "1", "samples in the training set, D"),
    Field("optimizer", (), "str", "", "name of the optimizer"),
    Field("momentum", (), "f8", "1", "momentum coefficient"),
    Field("weight_decay", (), "f8", "1", "weight decay coefficient"),
    Field("ghost_size", (), "i8", "1", "samples in a ghost batch of batch normalization"),
    Field("added_noise", (), "f8", "1", "deviation of noise added to each gradient component"),
    Field(
        "gradient_difference",
        (),
        "f8",
        "1",
        "relative difference of the gradients of two updates at the initial weights; 0 where each"
        " update is the same full gradient",
    ),
)
FIELDS: dict[str, Field] = {field.name: field for field in _DECLARED}
AXES = ("since", "group", "metric", "ensemble", "direction", "radius", "fraction")
COORDINATES = (
    "iteration",
    "tensor",
    "tensor_size",
    "tensor_group",
    "scale_invariant",
    *AXES,
) + tuple(f.name for f in _DECLARED if not f.dims)
# How `us.attach` is asked for what a recording may lack.
ASKED_WITH = {
    "batch_size": "batch_size=",
    **{name: f"{name}=" for name in ("seed", "scaling", "data_size")},
    "held_out": "evaluation=",
    "loss_difference": "landscape=",
    "line_loss": "landscape=",
    "sketch": "'trajectory' among probes",
    "step_sq": "'path' among probes",
    "gradient_sq": "two backward passes an update",
    "noise_trace": "two backward passes an update",
}
