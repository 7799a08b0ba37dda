"""What probes cost a run: memory of a process, bytes over the network, disk.

Counted from the shapes of the weights alone, so it can be asked of a model on the meta device,
which has none yet. What a record holds is read from the declared fields; the rest is what the
modules of `probes.quantities` and `probes.buffer` keep.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch

from ultraslow.diffusion.recording import FIELDS, HELD_UPDATES
from ultraslow.diffusion.sketch import COMPONENTS
from ultraslow.probes.buffer import ROW_COLUMNS, Patterns, tensor_groups
from ultraslow.probes.distributed import parameter_names, processes_of
from ultraslow.probes.quantities import QUANTITIES
from ultraslow.probes.storage import GRADIENT_FIELDS, SCALE_FIELDS

from .arguments import check_place, check_probes

_NUMBER = 8  # bytes of what is recorded and sent
# Vectors `(tensor,)` that an update keeps until the flush: S, Big and Big before clipping. A flush
# lays them side by side, then joins them to one vector with what else it sends.
_KEPT, _LAID_OUT = 3, 2
# Bytes of the blocks in which weights are read: of w, of w0, and their difference.
_BLOCKS = 3 * (1 << 20)
_TOLD = 10.0  # copies, up to which they are told; of small networks the blocks are many
_LENGTHS = {"component": COMPONENTS}  # along axes that a model does not decide
_MEASURED = ("distance", "path", "trajectory")  # of those that `probes` names, beside noise


@dataclass(frozen=True)
class Cost:
    """What probes cost a run; `print` it for a sentence.

    Attributes:
        weights: of the model that are trained.
        recorded: tensors, or groups of them, that are recorded.
        ranks: processes that train it.
        sharded: whether each holds a part of the weights only.
        weight_bytes: of the weights of one process, the one that holds most.
        memory: bytes that a process keeps for the probes, where its weights are.
        host: bytes that it keeps in the host's memory, of weights on a device.
        update_bytes: that an update adds to what a process gives to the next flush's sum.
        flush_bytes: that it gives to the sum of a full flush, with one record.
        record_bytes: on disk.
        initial_bytes: of w0 on disk, beside the recording while it lives.
    """

    weights: int
    recorded: int
    ranks: int
    sharded: bool
    weight_bytes: int
    memory: int
    host: int
    update_bytes: int
    flush_bytes: int
    record_bytes: int
    initial_bytes: int

    @property
    def copies(self) -> float:
        """Memory in copies of the weights that a process holds."""
        return self.memory / self.weight_bytes

    def __str__(self) -> str:
        several = self.ranks > 1
        rank = f"a rank of {self.ranks}" if several else "of memory"
        host = f", {_size(self.host)} on the host" if self.host else ""
        held = f" ({self.copies:.3g} × {'its' if several else 'the'} weights)"
        held = held if self.copies < _TOLD else ""
        sent = f"; at most {_size(self.flush_bytes)} a flush over the network" if several else ""
        return (
            f"probes take {_size(self.memory)} {rank}{held}{host}{sent}; "
            f"{_size(self.record_bytes)} a record on disk, and {_size(self.initial_bytes)} for w0"
        )


def cost(
    model: torch.nn.Module,
    *,
    ranks: int | None = None,
    sharded: bool | None = None,
    probes: Collection[str] | None = None,
    initial_on: str = "device",
    groups: Patterns | None = None,
) -> Cost:
    """What probes will cost a training of this model.

    Counted from shapes: the model may be on the meta device, and nothing is attached to it. Blocks
    in which weights are read, some megabytes, are counted; the interpreter's share of the
    libraries that read and write recordings, some hundred, is not.

    Arguments:
        model: whose parameters that require gradients are recorded.
        ranks: processes that train it; those of a wrapped model, or one, when None.
        sharded: whether each holds a part of every tensor, as under `fully_shard`; as the model is
            when None.
        probes: as `attach` takes them; `distance` and `noise` when None.
        initial_on: as `attach` takes it.
        groups: as `attach` takes them.

    Raises:
        ValueError: for a model without trainable parameters, and arguments out of range.

    >>> with torch.device("meta"):
    ...     layer = torch.nn.Linear(1000, 1000)
    >>> found = cost(layer, ranks=4, sharded=True)
    >>> found.weights, found.weight_bytes
    (1001000, 1001000)
    """
    parameters = parameter_names(model)
    if not parameters:
        raise ValueError("model: found no trainable parameter, expected at least one")
    check_probes(probes)
    check_place(initial_on, None)
    processes = processes_of(model)
    ranks = processes.size if ranks is None else ranks
    if isinstance(ranks, bool) or not isinstance(ranks, int) or ranks < 1:
        raise ValueError(f"ranks: found {ranks!r}, expected how many processes train it, >= 1")
    sharded = processes.sharded if sharded is None else sharded
    names = list(parameters)
    recorded = len(tensor_groups(names, groups).names) if groups else len(names)
    chosen = {"distance", *({"noise"} if probes is None else probes)}
    replicas = processes.copies if processes.size == ranks and processes.sharded else 1
    shapes = [(tuple(p.shape), p.dtype.itemsize) for p in parameters.values()]
    parts = ranks // replicas if sharded else 1
    return cost_of(
        shapes, chosen, recorded=recorded, ranks=ranks, parts=parts, initial_on=initial_on
    )


def cost_of(
    shapes: Sequence[tuple[tuple[int, ...], int]],
    chosen: Collection[str],
    *,
    recorded: int,
    ranks: int,
    parts: int,
    initial_on: str,
) -> Cost:
    """The cost of probes of weights.

    Arguments:
        shapes: of the whole tensors, with the bytes of a weight.
        chosen: names of the probes, `distance` among them.
        recorded: tensors, or groups of them, that are recorded.
        ranks: processes.
        parts: that tensors are cut into along their first dimensions.
        initial_on: where w0 is.
    """
    held = [_held(shape, parts) for shape, _ in shapes]
    own = sum(size * itemsize for size, (_, itemsize) in zip(held, shapes, strict=True))
    update = _NUMBER * (2 * recorded + ROW_COLUMNS)
    sent = HELD_UPDATES * update + _NUMBER * (_snapshot(chosen, recorded) + 1)
    sent += 0 if parts > 1 else _NUMBER * ranks  # a number of each, which tells weights apart
    waiting = HELD_UPDATES * _NUMBER * (_KEPT * len(shapes) + ROW_COLUMNS) + _LAID_OUT * sent
    memory = waiting + _BLOCKS + own * ("path" in chosen)
    memory += own if initial_on == "device" else 0
    if "trajectory" in chosen:  # a bit of sign a weight, and 8 bytes for a row of them
        memory += sum(held) // 8 + 8 * sum(held) // COMPONENTS
    whole = sum(prod(shape) * itemsize for shape, itemsize in shapes)
    return Cost(
        weights=sum(prod(shape) for shape, _ in shapes),
        recorded=recorded,
        ranks=ranks,
        sharded=parts > 1,
        weight_bytes=own,
        memory=memory,
        host=own if initial_on == "host" else 0,
        update_bytes=update if ranks > 1 else 0,
        flush_bytes=sent if ranks > 1 else 0,
        record_bytes=sum(_NUMBER * size for _, size in _recorded(chosen, recorded)),
        initial_bytes=whole,
    )


def _held(shape: tuple[int, ...], parts: int) -> int:
    """Values of a tensor on the process that holds most: parts are of equal length, rounded up."""
    return -(-shape[0] // parts) * prod(shape[1:]) if shape else 1


def _recorded(chosen: Collection[str], tensors: int) -> Iterator[tuple[str, int]]:
    """Fields of a record, and how many numbers each has."""
    others = {name: one.fields for name, one in QUANTITIES.items() if name not in chosen}
    absent = {name for fields in others.values() for name in fields}
    absent |= {*SCALE_FIELDS, "epoch"}
    absent |= set() if "noise" in chosen else set(GRADIENT_FIELDS)
    lengths: Mapping[str, int] = {**_LENGTHS, "tensor": tensors}
    for name, field in FIELDS.items():
        known = all(axis in lengths for axis in field.dims[1:])
        if field.dims[:1] == ("iteration",) and known and name not in absent:
            yield name, prod(lengths[axis] for axis in field.dims[1:])


def _snapshot(chosen: Collection[str], tensors: int) -> int:
    """Numbers of a record that are added over processes."""
    fields = [name for one in _MEASURED if one in chosen for name in QUANTITIES[one].fields]
    return sum(COMPONENTS if FIELDS[name].dims[-1] == "component" else tensors for name in fields)


def _size(count: float) -> str:
    """Bytes in the unit that suits them.

    >>> _size(250), _size(4_004_000_000)
    ('250 B', '4 GB')
    """
    for unit, power in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= power:
            return f"{count / power:.3g} {unit}"
    return f"{count:.0f} B"
