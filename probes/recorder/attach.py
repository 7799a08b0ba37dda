"""Attaching probes to a model and its optimizer."""

import gc
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ultraslow.diffusion.scaling import Rule
from ultraslow.probes.buffer import Patterns, Resume, schedule_of, tensor_groups
from ultraslow.probes.distributed import (
    Processes,
    explained,
    gather,
    is_sharded,
    local,
    parameter_names,
    processes_of,
    refuse_one_path,
    resharded,
    unwrapped,
)
from ultraslow.probes.gradients import GradientTap, ShardedTap, scale_of, turn_of
from ultraslow.probes.quantities import (
    WITH_SETTINGS,
    Evaluation,
    Quantities,
    Subject,
    quantities_of,
)
from ultraslow.probes.quantities.landscape import Landscape
from ultraslow.probes.steps import Optimizers
from ultraslow.probes.storage import (
    Mirrored,
    RecordingWriter,
    SegmentStore,
    Upload,
    checked_mirrors,
    kept_on,
    place_of,
    recorded_at,
)

from .arguments import (
    check_descriptions,
    check_optimizers,
    check_place,
    check_types,
    check_values,
    clock_of,
    own_optimizers,
)
from .cost import Cost, cost_of
from .metadata import attributes, coordinates, described, in_groups
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
    initial_on: str = "device",
    groups: Patterns | None = None,
    scaler: torch.amp.GradScaler | None = None,
    flush_seconds: float = 60.0,
    resume: Resume | None = None,
    processes: torch.distributed.ProcessGroup | bool | None = None,
    close_on_sigterm: bool = True,
    overwrite: bool = False,
    local: str | Path | None = None,
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
        path: where rank 0 records: a live folder of this name, closed to `path` + `.nc`. A URL of
            an object store, as "s3://bucket/run", records in the folder `local` and copies what
            is written there in the background; a store that refuses never stops the training.
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
        initial_on: where w0 is while the run lives: on the "device" of the weights, on the "host"
            or on the "disk" alone, in the files beside the recording that it is saved to in any
            case. It is read once a record; what is on disk costs no memory.
        groups: tensors that are recorded as one, by the group's name: a pattern of their names or
            several, as `{"attention": "*.attn.*", "rest": "*"}`. The first group that fits a
            tensor takes it, one that fits none is recorded by itself.
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
        local: the live folder of a recording that goes to a URL; "uploads/bucket/run" when None.
            A run on several machines needs one that all of them see.
        mirror: where the totals are to be seen while the run lives, one or several: "tensorboard",
            or "tensorboard:FOLDER", event files in a folder of the run's name; "csv", or
            "csv:FOLDER", a file of the run's name; "wandb", or "wandb:PROJECT", the active run of
            Weights & Biases or an offline one; or an object with `log(iteration, values)` and
            `close()`. Rank 0 mirrors what a flush has brought to disk; a mirror that fails is told
            once and follows no more.
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
        StoreError: for a URL whose library is not installed, or to resume from a store that
            cannot be asked.
        OSError: when w0 or the recording cannot be written, here or on another process.
    """
    given = own_optimizers(optimizer, resharded(model))
    check_types(model, given, path, scaler=scaler, flush_seconds=flush_seconds)
    path, url = recorded_at(path, local)
    scaler = scaler if scaler is not None and scaler.is_enabled() else None
    check_descriptions(evaluation, landscape, metadata)
    check_values(model, path, flush_seconds, batch_size=batch_size, probes=probes)
    check_place(initial_on, landscape)
    labels = dict[str, Any](seed=seed, scaling=scaling, data=data, data_size=data_size)
    labels.update(ghost_size=ghost_size, added_noise=added_noise, model=model_name)
    told = described(metadata or {}, {**labels, "batch_size": batch_size})
    asked: dict[str, Any] = {"evaluation": evaluation, "landscape": landscape, "mirror": mirror}
    asked |= {"initial_on": initial_on, "groups": groups}
    _end_open(SegmentStore(path), asked=overwrite)
    setup, quantities = _setup(model, given, clock, path, told, probes, asked, scaler, processes)
    make = partial(Recorder, model, tap=_tap(model, setup, scaler), scaler=scaler)
    make = partial(make, batch_size=batch_size, schedule=schedule_of(schedule))
    make = partial(make, flush_seconds=flush_seconds, close_on_sigterm=close_on_sigterm)
    setup = replace(setup, upload=Upload(setup.store.folder, url) if url else None)
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
        for text in start.told:
            writer.note(start.state.iteration, text)
        writer.mirrored_by(setup.mirrors)
        folder, new = setup.store.folder, start.recorded < 0 and not quiet
        writer.tell = (lambda records: say(folder, outlook(folder, records))) if new else None
        if new and setup.processes.writes:
            say(folder, str(_cost(setup)))
        alone = OneUnit(folder, listens=new and writer.noise and setup.processes.size == 1)
        told = {"start": begun, "writer": writer, "alone": alone, "meetings": meetings}
        made = make(setup.optimizers, setup.subject, quantities, **told)
        if setup.upload is not None and setup.processes.writes:
            say(folder, f"is uploaded to {setup.upload.url}; the files here are kept")
            writer.upload = setup.upload
            setup.upload.start()
        return made
    except BaseException:
        abandon(setup, start)
        raise


def _cost(setup: RunSetup) -> Cost:
    """What the probes of this run take."""
    subject, processes = setup.subject, setup.processes
    return cost_of(
        [(tuple(one.shape), one.dtype.itemsize) for one in subject.parameters.values()],
        setup.probes,
        recorded=setup.recorded_tensors,
        ranks=processes.size,
        parts=processes.size // processes.copies,
        initial_on=place_of(subject.initial[0]),
    )


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
        settings: of the probes that need some, by name; None for one that was not asked for. And
            mirrors, where w0 is, and groups of tensors.
    """
    optimizers, mirrors = _optimizers(model, given, clock), checked_mirrors(settings["mirror"])
    store = SegmentStore(path)
    place, patterns = settings["initial_on"], settings["groups"]
    subject = _subject(model, processes_of(model, processes), place, patterns)
    asks = partial(
        say,
        store.folder,
        "asks the other processes where they record, as the model is "
        "not wrapped; with processes= it would not wait for them",
    )
    refuse_one_path(store.folder, model, told=processes is not None, notice=asks)
    chosen = {"distance": None, **dict.fromkeys(("noise",) if probes is None else probes)}
    chosen |= {name: settings[name] for name in WITH_SETTINGS if settings[name] is not None}
    quantities = quantities_of(subject, chosen)
    static, documented = _described(subject, optimizers, store, told)
    setup = RunSetup(
        store,
        subject,
        in_groups({**static, **quantities.axes()}, subject.groups),
        {**documented, **quantities.attributes(), **_grouped(subject, patterns)},
        frozenset({*chosen, *(["scaler"] if scaler is not None else [])}),
        optimizers,
        tuple(mirrors),
    )
    return setup, quantities


def _subject(
    model: torch.nn.Module, processes: Processes, place: str, patterns: Patterns | None
) -> Subject:
    """What is measured of a model, with a copy of the weights of this moment."""
    parameters = parameter_names(model)
    w0 = [kept_on(place, local(parameter)) for parameter in parameters.values()]
    groups = tensor_groups(list(parameters), patterns) if patterns else None
    return Subject(unwrapped(model), parameters, w0, processes, groups)


def _grouped(subject: Subject, patterns: Patterns | None) -> dict[str, str]:
    """What the recording says of its groups of tensors: patterns by name."""
    if subject.groups is None or not patterns:
        return {}
    told = {name: patterns[name] for name in subject.groups.grouped}
    return {"tensor_groups": json.dumps(told, default=list)}


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
        follows=start.on_disk,
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
