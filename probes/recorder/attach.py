"""Attaching probes to a model and its optimizer.

Whether the arguments of `attach` are what they should be; each fault names its argument.
"""

import gc
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ultraslow.diffusion.scaling import Rule
from ultraslow.probes.buffer import Resume, schedule_of
from ultraslow.probes.distributed import (
    Processes,
    explained,
    gather,
    is_sharded,
    local,
    parameter_names,
    processes_of,
    refuse_one_path,
    refuse_unseen,
    resharded,
    unwrapped,
    within_wrapper,
)
from ultraslow.probes.gradients import GradientTap, ShardedTap, scale_of, turn_of
from ultraslow.probes.quantities import (
    QUANTITIES,
    WITH_SETTINGS,
    Evaluation,
    Quantities,
    Subject,
    quantities_of,
)
from ultraslow.probes.quantities.landscape import Landscape
from ultraslow.probes.steps import Optimizers, is_recorded
from ultraslow.probes.storage import (
    Mirrored,
    RecordingWriter,
    SegmentStore,
    checked_mirrors,
    name_fault,
)

from .metadata import attributes, coordinates, described
from .outlook import OneUnit, outlook, say
from .recorder import Recorder
from .start import RunSetup, Start, abandon, begin


def attach(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
    path: str | Path,
    *,
    batch_size: int,
    clock: torch.optim.Optimizer | None = None,
    seed: int | None = None,
    scaling: Rule | None = None,
    data_size: int | None = None,
    data: str | None = None,
    model_name: str | None = None,
    ghost_size: int | None = None,
    added_noise: float | None = None,
    metadata: Mapping[str, Any] | None = None,
    probes: Collection[str] | None = None,
    evaluation: Evaluation | None = None,
    landscape: Landscape | None = None,
    schedule: Sequence[int] | NDArray[np.integer] | None = None,
    scaler: torch.amp.GradScaler | None = None,
    flush_seconds: float = 60.0,
    resume: Resume | None = None,
    processes: torch.distributed.ProcessGroup | bool | None = None,
    close_on_sigterm: bool = True,
    overwrite: bool = False,
    mirror: Mirrored = None,
    quiet: bool = False,
) -> Recorder:
    """Attach probes to a training run; the weights at this moment are w0, unless it is resumed.

    Attach on every process, after the model was wrapped (DistributedDataParallel, `fully_shard`,
    `torch.compile`). Weight distance, learning rate, samples and times are always recorded, the
    loss when it is observed, gradient noise by default.

    A *unit* is one backward pass on one process. Units are taken to be equal, with losses scaled
    so that gradients add up to the update's mean gradient (divide the loss of each of k
    accumulated microbatches by k). Where they are not, as at the end of an epoch or while the
    batch grows, declare each with `Recorder.unit`: an undeclared update of an unusual number of
    units, or of unequal ones, is left out of the noise and counted in `noise_left_out`. Passes
    that belong together are made `Recorder.one_unit`, those of penalties `Recorder.unmeasured`.

    What the run is, in labels such as `seed`, decides what it can be compared with; when the first
    records are written, a line on standard error says which predictions the run can serve and what
    the others lack. Labels are added to a closed recording by `ultraslow label`.

    w0 is saved beside the recording, and a resumed run is measured from it: load the checkpoint
    first, then attach with `resume`. The number of processes and the sharding may differ from
    before.

    Arguments:
        model: the module as it is trained.
        optimizer: the optimizer of its parameters, or what Accelerate or Lightning made of it;
            one step is one iteration. Or several, as `[muon, adamw]`: an iteration ends when each
            has stepped. Steps within a backward pass count once. Where parameters
            have optimizers of their own that step there, give one that owns all parameters and
            call its step after each pass: it finds no gradients and moves nothing.
        path: where rank 0 records: a live folder of this name, closed to `path` + `.nc`.
        batch_size: samples in an update over all processes, M; the most where it varies.
        clock: of several optimizers the one whose steps are the iterations, where another steps
            rarely or only for a part of the run.
        seed: of the run. Runs that differ in it alone are draws of one arm.
        scaling: the rule from batch size to learning rate, "fixed", "sqrt", "exact_sqrt" or
            "linear" (`diffusion.scaling.scaled_learning_rate`).
        data_size: samples in the training set, D.
        data: name of the data set.
        model_name: name of the network, the recording's coordinate `model`.
        ghost_size: samples in a ghost batch of batch normalization.
        added_noise: standard deviation of noise that you add to each gradient component.
        metadata: all else there is to say of the run, stored as JSON. Keys that are labels
            (`diffusion.recording.LABELS`) become coordinates as if given by name; `optimizer`,
            `momentum` and `weight_decay`, which are read from the optimizer, are corrected here.
        probes: which probes to run, of `distance` (always on), `noise`, `path` and `trajectory`
            (see the modules of `probes.quantities` for their cost); the first two when None.
        evaluation: a function of yours and when it is due, such as held-out loss and accuracy;
            called at the close as well.
        landscape: the loss around the weights at chosen checkpoints.
        schedule: iterations to record at, log-spaced when None; 0, the last and those of
            `evaluation` and `landscape` are always recorded.
        scaler: the gradient scaler of mixed precision; gradients are measured unscaled. One that
            was not given is found when it steps the optimizer, undone and recorded.
        flush_seconds: about how much time may be lost when the process is killed.
        resume: to go on with the recording at `path`: what `Recorder.state_dict` returned for the
            checkpoint; or the checkpoint's iteration; or True for the last iteration on disk, or
            to begin where there is no recording yet. Later records are set aside until the run has
            overtaken them. All processes
            resume or none. None for a new recording.
        processes: the processes whose gradients the training loop itself averages after the
            backward pass, an all-reduce of each and division by their number, as a process
            group or True for all; False where each process trains a model of its own. Not needed
            for DistributedDataParallel and `fully_shard`, which tell. A unit of DataParallel is
            one pass over all its devices.
        close_on_sigterm: whether SIGTERM closes the recording before the process ends. Several
            processes go on until all were told and close after the same update, some three
            updates later, so that nothing is lost; where one of them is not told within 10 seconds
            the recording stays live, without what was measured since the last flush. A handler
            that is already set decides itself and is called after a process that trains alone has
            brought the recording to disk; with several, close the recorder when training stops.
        overwrite: whether to remove a recording that is at `path` and begin anew, as when a
            notebook's cell is run again; a recorder of this process that is still open there ends.
        mirror: where the totals are to be seen while the run lives, one or several: "tensorboard",
            or "tensorboard:FOLDER", event files in a folder of the run's name; "wandb", or
            "wandb:PROJECT", the active run of Weights & Biases or an offline one; or an object
            with `log(iteration, values)` and `close()`. Rank 0 mirrors what a flush has brought to
            disk; a mirror that fails is told once and follows no more.
        quiet: whether to say nothing on standard error of what the run can serve.

    Returns:
        The recorder, a context manager.

    Raises:
        ValueError: for a model without trainable parameters, an optimizer that does not own them,
            a recorder that is already attached, an argument out of range, or a recording that
            does not fit the run that resumes it.
        FileExistsError: when there is already a recording at `path` that is not to be overwritten,
            or somebody records there.
        FileNotFoundError: when there is nothing to resume.
        OSError: when w0 or the recording cannot be written, here or on another process.
    """
    given = own_optimizers(optimizer, resharded(model))
    check_types(model, given, path, scaler=scaler, flush_seconds=flush_seconds)
    scaler = scaler if scaler is not None and scaler.is_enabled() else None
    check_descriptions(evaluation, landscape, metadata)
    check_values(model, path, flush_seconds, batch_size=batch_size, probes=probes)
    labels = dict[str, Any](seed=seed, scaling=scaling, data=data, data_size=data_size)
    labels.update(ghost_size=ghost_size, added_noise=added_noise, model=model_name)
    told = described(metadata or {}, {**labels, "batch_size": batch_size})
    asked = {"evaluation": evaluation, "landscape": landscape, "mirror": mirror}
    _end_open(SegmentStore(path), asked=overwrite)
    setup, quantities = _setup(model, given, clock, path, told, probes, asked, scaler, processes)
    make = partial(
        Recorder,
        model,
        tap=_tap(model, setup, scaler),
        batch_size=batch_size,
        schedule=schedule_of(schedule),
        scaler=scaler,
        flush_seconds=flush_seconds,
        close_on_sigterm=close_on_sigterm,
    )
    return _begun(setup, quantities, make, resume, overwrite=overwrite, quiet=quiet)


def _optimizers(
    model: torch.nn.Module, given: Sequence[torch.optim.Optimizer], clock: object
) -> Optimizers:
    """The optimizers, when they are found to train the model."""
    parameters = parameter_names(model)
    check_optimizers(given, parameters)
    whole = None if is_sharded(model) else model  # whose modules hold others while gathered
    known = list(parameters.values())
    return Optimizers(given, known, clock=clock_of(clock, given), model=whole)


def _begun(
    setup: RunSetup,
    quantities: Quantities,
    make: partial[Recorder],
    resume: Resume | None,
    *,
    overwrite: bool,
    quiet: bool,
) -> Recorder:
    """The recorder of a recording that is opened; where one fails, nothing is left behind."""
    meetings = gather(setup.processes, _what(setup))
    setup.store.lease.flush_seconds = float(make.keywords["flush_seconds"])
    try:
        start = begin(setup, resume, overwrite=overwrite)
    except FileExistsError as error:
        raise explained(error, setup.store.folder) from None
    try:
        begun = _with_quantities(setup, start, quantities)
        writer = _writer(setup, begun)
        writer.mirrored_by(setup.mirrors)
        folder, new = setup.store.folder, start.recorded < 0 and not quiet
        writer.tell = (lambda records: say(folder, outlook(folder, records))) if new else None
        alone = OneUnit(folder, listens=new and writer.noise and setup.processes.size == 1)
        told = {"start": begun, "writer": writer, "alone": alone, "meetings": meetings}
        return make(setup.optimizers, setup.subject, quantities, **told)
    except BaseException:
        abandon(setup, start)
        raise


def _what(setup: RunSetup) -> str:
    """What this process comes to record, in the words of those that train with it."""
    tensors = setup.subject.parameters
    weights = sum(parameter.numel() for parameter in tensors.values())
    probes = ", ".join(sorted(setup.probes))
    return f"`attach` {len(tensors)} tensors of {weights} weights with {probes}"


def _setup(
    model: torch.nn.Module,
    given: Sequence[torch.optim.Optimizer],
    clock: object,
    path: str | Path,
    told: Mapping[str, Any],
    probes: Collection[str] | None,
    settings: Mapping[str, Any],
    scaler: torch.amp.GradScaler | None,
    processes: torch.distributed.ProcessGroup | bool | None,
) -> tuple[RunSetup, Quantities]:
    """What is to be recorded, and the quantities that measure it.

    Arguments:
        model, clock, path, probes, scaler, processes: as `attach` has them.
        given: the optimizers whose steps can be followed.
        told: what is said of the run, checked.
        settings: of the probes that need some, and mirrors, by name; None for one that was not
            asked for.
    """
    optimizers, mirrors = _optimizers(model, given, clock), checked_mirrors(settings["mirror"])
    settings = {name: given for name, given in settings.items() if name != "mirror"}
    store, subject = SegmentStore(path), _subject(model, processes_of(model, processes))
    asks = partial(
        say,
        store.folder,
        "asks the other processes where they record, as the model is "
        "not wrapped; with processes= it would not wait for them",
    )
    refuse_one_path(store.folder, model, told=processes is not None, notice=asks)
    chosen = {"distance": None, **dict.fromkeys(("noise",) if probes is None else probes)}
    chosen |= {name: given for name, given in settings.items() if given is not None}
    quantities = quantities_of(subject, chosen)
    static, documented = _described(subject, optimizers, store, told)
    setup = RunSetup(
        store,
        subject,
        {**static, **quantities.axes()},
        {**documented, **quantities.attributes()},
        frozenset({*chosen, *(["scaler"] if scaler is not None else [])}),
        optimizers,
        tuple(mirrors),
    )
    return setup, quantities


def _subject(model: torch.nn.Module, processes: Processes) -> Subject:
    """What is measured of a model, with a copy of the weights of this moment."""
    parameters = parameter_names(model)
    w0 = [local(parameter).detach().clone() for parameter in parameters.values()]
    return Subject(unwrapped(model), parameters, w0, processes)


def _with_quantities(setup: RunSetup, start: Start, quantities: Quantities) -> Start:
    iteration = start.state.iteration
    resumed = start.recorded >= 0 or iteration > 0
    found = quantities.begin(setup.store.folder, iteration, resumed=resumed)
    return replace(start, attributes={**start.attributes, **found})


def _writer(setup: RunSetup, start: Start) -> RecordingWriter:
    return RecordingWriter(
        setup.store,
        start.static,
        start.attributes,
        "noise" in setup.probes,
        start.scaled or "scaler" in setup.probes,
        waiting=list(start.state.waiting),
        several_units=start.several_units,
        gap=start.gap,
        lacks=start.lacks,
    )


def _described(
    subject: Subject,
    optimizers: Optimizers,
    store: SegmentStore,
    told: Mapping[str, Any],
) -> tuple[dict[str, object], dict[str, str]]:
    """Coordinates and attributes of the recording."""
    tensors = subject.parameters
    static: dict[str, object] = {
        "run": store.folder.name,
        "world_size": subject.processes.size,
        "tensor": list(tensors),
        "tensor_size": [parameter.numel() for parameter in tensors.values()],
        **coordinates(optimizers.given, told),
    }
    if optimizers.slots > 1:
        static["group"] = list(range(optimizers.slots))
        static["tensor_group"] = optimizers.tensor_slots
    documented = attributes(told)
    if rates := optimizers.told():
        documented["learning_rates"] = "; ".join(rates)
    documented["history"] = f"{documented['created']} recorded by probes.attach"
    return static, documented


def _tap(
    model: torch.nn.Module, setup: RunSetup, scaler: torch.amp.GradScaler | None
) -> Callable[[Callable[[Exception], None]], GradientTap]:
    """What makes the tap that fits the model, once it is known whom to tell of failures."""
    make = partial(ShardedTap, model) if is_sharded(model) else partial(GradientTap, model=model)
    return lambda failed: make(
        list(setup.subject.parameters.values()),
        processes=setup.processes.size,
        failed=failed,
        scale=partial(scale_of, scaler),
        turn=partial(turn_of, scaler),
        measure="noise" in setup.probes,
    )


def probe_names() -> list[str]:
    """Names that `attach` takes as `probes`."""
    return sorted({"noise", *QUANTITIES} - WITH_SETTINGS)


def check_types(
    model: object,
    optimizers: Sequence[object],
    path: object,
    *,
    scaler: object,
    flush_seconds: object,
) -> None:
    """Refuse values of another type.

    Raises:
        TypeError: naming the argument, what was found and what was expected.
    """
    _check_kind("model", model, torch.nn.Module)
    for optimizer in optimizers:
        _check_kind("optimizer", optimizer, torch.optim.Optimizer)
    _check_kind("path", path, str | Path)
    _check_kind("scaler", scaler, torch.amp.GradScaler | None)
    _check_kind("flush_seconds", flush_seconds, Real)


def check_descriptions(evaluation: object, landscape: object, metadata: object) -> None:
    """Refuse what does not say what to measure, or of which run.

    Raises:
        TypeError: naming the argument, what was found and what was expected.
    """
    _check_kind("evaluation", evaluation, Evaluation | None)
    _check_kind("landscape", landscape, Landscape | None)
    _check_kind("metadata", metadata, Mapping | None)


def _check_kind(name: str, value: object, kind: Any) -> None:
    if not isinstance(value, kind):
        wanted = getattr(kind, "__name__", str(kind))
        raise TypeError(f"{name}: found {type(value).__name__}, expected {wanted}")


def check_values(
    model: torch.nn.Module,
    path: str | Path,
    flush_seconds: float,
    *,
    batch_size: int,
    probes: Collection[str] | None,
) -> None:
    """Refuse values that cannot be meant.

    Raises:
        ValueError, TypeError: naming the argument, what was found and what was expected.
    """
    if not Path(path).name:
        raise ValueError(f"path: found {str(path)!r}, expected a name for the recording")
    if fault := name_fault(SegmentStore(path).folder):
        raise ValueError(f"path: {fault}")
    if not flush_seconds >= 0:
        raise ValueError(f"flush_seconds: found {flush_seconds}, expected a time, >= 0")
    if within_wrapper(model):
        raise ValueError(
            "model: found the module within a DistributedDataParallel, expected the wrapper"
        )
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer):
        raise TypeError(f"batch_size: found {batch_size!r}, expected an integer")
    if batch_size < 1:
        raise ValueError(f"batch_size: found {batch_size}, expected samples in an update, >= 1")
    if isinstance(probes, str):
        raise TypeError(f"probes: found {probes!r}, expected a list of names, as [{probes!r}]")
    unknown = sorted(set(probes or ()).difference(probe_names()))
    if unknown:
        raise ValueError(f"probes: found {unknown}, expected names of {probe_names()}")


# Modules whose optimizers only decide whether the wrapped one steps, and what they call it.
_HOSTS = ("accelerate.", "lightning.", "pytorch_lightning.")
_WITHIN = ("optimizer", "_optimizer", "base_optimizer", "optim")


def own_optimizers(optimizer: Any, model: object = None) -> list[Any]:
    """The optimizers whose steps can be followed, of one that was given or of several.

    Raises:
        TypeError, ValueError: as `own_optimizer`, and for none.
    """
    if isinstance(optimizer, str) or not isinstance(optimizer, Sequence):
        return [own_optimizer(optimizer, model)]
    if not optimizer:
        raise ValueError("optimizer: found none, expected one or a list of several")
    return [own_optimizer(one, model) for one in optimizer]


def clock_of(clock: Any, optimizers: Sequence[torch.optim.Optimizer]) -> int | None:
    """The number of the optimizer whose steps are iterations; None where each is waited for.

    Raises:
        ValueError: for one that was not given.
    """
    if clock is None:
        return None
    found = [k for k, one in enumerate(optimizers) if one is own_optimizer(clock)]
    if not found:
        raise ValueError(
            f"clock: found {type(clock).__name__}, expected one of the optimizers that are given, "
            f"{_listed(optimizers)}"
        )
    return found[0]


def own_optimizer(optimizer: Any, model: object = None) -> Any:
    """The optimizer whose steps can be followed.

    Accelerate and Lightning wrap optimizers: theirs steps where the wrapped one does, and that is
    followed. What another wrapper does to the weights before or after nobody can know.

    Arguments:
        optimizer: as it was given, of whatever type.
        model: that it trains.

    Returns:
        The optimizer within a wrapper of those; others as they are.

    Raises:
        TypeError: for a wrapper of another kind, naming what it holds.
        ValueError: for an optimizer that does not call the hooks of torch's, and where it or the
            model hides what is trained.
    """
    refuse_unseen(model, optimizer)
    while _from_host(optimizer) and optimizer.optimizer is not optimizer:
        optimizer = optimizer.optimizer
    if _is_followed(optimizer):
        return optimizer
    name = type(optimizer).__name__
    held = [one for one in _WITHIN if _is_followed(getattr(optimizer, one, None))]
    advice = (
        f"give the one that it holds, `.{held[0]}`, if all weights move in that" if held else ""
    )
    if isinstance(optimizer, torch.optim.Optimizer):
        advice = advice or "call `super().__init__(params, defaults)` in its own `__init__`"
        raise ValueError(
            f"optimizer: found {name}, which does not call the `__init__` of torch's Optimizer, "
            f"so that its steps cannot be followed; {advice}"
        )
    if held:
        raise TypeError(f"optimizer: found {name}, expected Optimizer; {advice}")
    return optimizer


def _from_host(optimizer: Any) -> bool:
    modules = [f"{kind.__module__}." for kind in type(optimizer).__mro__]
    return any(one.startswith(_HOSTS) for one in modules) and hasattr(optimizer, "optimizer")


def _is_followed(optimizer: object) -> bool:
    hooked = hasattr(optimizer, "_optimizer_step_post_hooks")
    return isinstance(optimizer, torch.optim.Optimizer) and hooked


def check_optimizers(
    optimizers: Sequence[torch.optim.Optimizer], tensors: Mapping[str, torch.nn.Parameter]
) -> None:
    """Refuse optimizers that do not train the model, or that are recorded already.

    Raises:
        ValueError: saying which.
    """
    if not tensors:
        raise ValueError("model: found no trainable parameter, expected at least one")
    if complex_ones := [name for name, tensor in tensors.items() if tensor.is_complex()]:
        raise ValueError(f"model: found complex tensors {complex_ones[:3]}, expected real ones")
    if len({id(one) for one in optimizers}) < len(optimizers):
        raise ValueError(f"optimizer: found {_listed(optimizers)}, one of them twice")
    wanted, owned = {id(tensor) for tensor in tensors.values()}, set[int]()
    for number, one in enumerate(optimizers):
        own = {id(parameter) for group in one.param_groups for parameter in group["params"]}
        if not own & wanted and len(optimizers) > 1:
            raise ValueError(
                f"optimizer: number {number} of {_listed(optimizers)} owns none of the model's "
                "trainable parameters; leave it out"
            )
        owned |= own
    strange = [name for name, parameter in tensors.items() if id(parameter) not in owned]
    if strange:
        raise ValueError(
            f"optimizer: does not own {len(strange)} of the model's {len(tensors)} trainable "
            f"parameters, the first is {strange[0]!r}; give all optimizers that train the model, "
            "attach(model, [first, second], …). Where parameters have optimizers of their own "
            "that step in the backward pass, give one that owns all of them and call its step "
            "after each pass"
        )
    if any(is_recorded(one) for one in optimizers):
        raise ValueError("optimizer: a recorder is already attached to it; close that one first")


def _listed(optimizers: Sequence[torch.optim.Optimizer]) -> str:
    return f"[{', '.join(type(one).__name__ for one in optimizers)}]"


def _end_open(store: SegmentStore, *, asked: bool) -> None:
    """End a recorder of this process that is still open at a path, and leave its recording live.

    It is looked for among all live objects, which takes some milliseconds.

    Arguments:
        store: the path's.
        asked: whether to.
    """
    if asked and store.lease.is_of_this_process():
        recorders = [found for found in gc.get_objects() if type(found) is Recorder]
        for found in recorders:
            found._leave_to(store.folder)
