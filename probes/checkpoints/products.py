"""One pass over all checkpoints: inner products of the steps between them, tensor by tensor.

With e_1 = w_1, the first checkpoint, and e_k = w_k − w_{k−1}, the products e_a·e_b of a tensor
give all of its norms, distances and displacements (`diffusion.displacement.between_all`). A block
of values is read from every checkpoint, widened to float64, and its products are one call of BLAS.

Blocks are the same however many threads there are, and are added up in their order, so that the
numbers are the same to the last digit, also where a pass is broken off and taken up again: what
is added up so far stands in a *journal*, a file beside the recording, until that is written.
"""

import hashlib
import io
import json
import threading
import time
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ultraslow.diffusion.displacement import between_all
from ultraslow.diffusion.recording import RecordError, make_folder, whole_file

from .folders import Checkpoint
from .stored import Bytes, OpenFiles, Stored, read_values

Array = NDArray[np.float64]

# Bytes of values in memory: those of the largest tensor, within these limits.
_LEAST, _MOST = 48 << 20, 512 << 20
_STRETCH = 4 << 20  # bytes to read of a file at once, where there is room
_THREADS = 4
# Bytes of float64 that the arithmetic works on at once: less pays for calls, more for memory.
_CACHED = 2 << 20
_SHORTEST = 1024  # values, of one checkpoint
_FEW = 8  # checkpoints up to which each is multiplied by the others in turn
_ALIGNED = 64  # bytes between which values of a checkpoint begin
_SECONDS = 10.0  # between two entries of the journal
_VERSION = 3


@dataclass(frozen=True)
class Sums:
    """What a pass over checkpoints gives.

    Attributes:
        weight_sq: ‖w‖² `(checkpoint, tensor)`.
        distance_sq: ‖w − w_0‖² from the first checkpoint, of the same shape.
        overlap: w·w_0, of the same shape.
        step_sq: squared distance from the checkpoint before, 0 for the first, of the same shape.
        products: of the steps, over all tensors `(checkpoint, checkpoint)`.
    """

    weight_sq: Array
    distance_sq: Array
    overlap: Array
    step_sq: Array
    products: Array


@dataclass(frozen=True)
class _Block:
    """Values `start` to `stop` of one tensor, of all checkpoints."""

    tensor: int
    start: int
    stop: int


@dataclass
class _State:
    """What is added up of the first blocks.

    Attributes:
        done: how many blocks.
        rows: weight_sq, distance_sq, overlap, step_sq `(4, checkpoint, tensor)`.
        products: over the tensors that are complete.
        partial: products of the one that is not.
    """

    done: int
    rows: Array
    products: Array
    partial: Array


class StepProducts:
    """A pass over checkpoints, which may have to be taken up again."""

    def __init__(
        self,
        places: Sequence[Checkpoint],
        tensors: Sequence[dict[str, Stored]],
        files: OpenFiles,
        journal: Path,
        *,
        workers: int | None = None,
    ) -> None:
        """Plan it, and take up what a journal holds of the same pass.

        Arguments:
            places: the checkpoints, in the order of their steps.
            tensors: of each, by name; the same names in all.
            files: that are read.
            journal: where to keep what is added up so far.
            workers: threads that read, at most; some when None.
        """
        self._places, self._files, self._journal = places, files, journal
        self._names = list(tensors[0])
        self._stored = [[one[name] for one in tensors] for name in self._names]
        count = len(places)
        largest = max(tensor.nbytes for one in tensors for tensor in one.values())
        room = min(max(largest, _LEAST), _MOST)
        self._threads = int(np.clip(room // (count * _STRETCH), 1, _THREADS))
        self._blocks = list(self._cut(room // self._threads // count))
        self._threads = min(self._threads, workers or _THREADS)
        self._own = threading.local()
        self._identity = self._identify()
        self._state = self._kept() or _State(
            0,
            np.zeros((4, count, len(self._names))),
            np.zeros((count, count)),
            np.zeros((count, count)),
        )
        self.resumed = self._state.done

    @property
    def nbytes(self) -> int:
        """Bytes that are left to read."""
        return sum(self._bytes(block) for block in self._blocks[self._state.done :])

    def _bytes(self, block: _Block) -> int:
        width = sum(one.dtype.itemsize for one in self._stored[block.tensor])
        return (block.stop - block.start) * width

    def _cut(self, room: int) -> Iterator[_Block]:
        """The blocks, each with as many values of a checkpoint as have room."""
        for index, stored in enumerate(self._stored):
            width = max(one.dtype.itemsize for one in stored)
            length = max(min(room, 2 * _STRETCH) // width, _SHORTEST)
            for start in range(0, stored[0].numel, length):
                yield _Block(index, start, min(start + length, stored[0].numel))

    def run(self, progress: Callable[[int], object] = lambda _: None) -> Sums:
        """Read what is left.

        Arguments:
            progress: is told of bytes that were read.

        Raises:
            RecordError: for a file that is cut off or changed, or weights that are not finite.
            OSError: when the disk refuses; what was added up stays in the journal.
        """
        saved, own = time.monotonic(), torch.get_num_threads()
        pool = ThreadPoolExecutor(self._threads, initializer=torch.set_num_threads, initargs=(1,))
        try:
            with threadpool_limits(1):  # a block a thread
                for block, products in self._computed(pool):
                    self._add(block, products)
                    progress(self._bytes(block))
                    if time.monotonic() - saved > _SECONDS:
                        self._save()
                        saved = time.monotonic()
        except RecordError:  # what was read is of no use for other files
            self.forget()
            raise
        except BaseException:
            if self._state.done > self.resumed:
                self._save()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(own)
        weight_sq, distance_sq, overlap, step_sq = self._state.rows
        return Sums(weight_sq, distance_sq, overlap, step_sq, self._state.products)

    def _computed(self, pool: ThreadPoolExecutor) -> Iterator[tuple[_Block, Array]]:
        """Products of the blocks in their order, a few ahead."""
        waiting: deque[tuple[_Block, Future[Array]]] = deque()
        for block in self._blocks[self._state.done :]:
            waiting.append((block, pool.submit(self._of_block, block)))
            if len(waiting) > 2 * self._threads:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()

    def _of_block(self, block: _Block) -> Array:
        stored, size = self._stored[block.tensor], block.stop - block.start
        values, room, at = [], self._room(self._bytes(block)), 0
        for one in stored:
            held = room[at : at + size * one.dtype.itemsize]
            at += -(-len(held) // _ALIGNED) * _ALIGNED
            read_values(self._files, one, block.start, held)
            values.append(torch.from_numpy(held).view(one.dtype))
        products = products_of_steps(values)
        if not np.isfinite(products).all():
            self._refuse(block, values)
        return products

    def _room(self, size: int) -> Bytes:
        """Memory of this thread for a block: asking for it anew costs as much as reading it."""
        size += _ALIGNED * len(self._places)
        if getattr(self._own, "room", None) is None or len(self._own.room) < size:
            self._own.room = np.empty(size, dtype=np.uint8)
        return cast(Bytes, self._own.room)

    def _refuse(self, block: _Block, values: Sequence[torch.Tensor]) -> None:
        """Name the first value that is not finite.

        Raises:
            RecordError: in any case.
        """
        name = self._names[block.tensor]
        for place, stored, held in zip(
            self._places, self._stored[block.tensor], values, strict=True
        ):
            wide = held.double()
            wrong = torch.nonzero(~torch.isfinite(wide))
            if wrong.numel():
                first = int(wrong[0])
                index = ", ".join(map(str, stored.index(block.start + first)))
                told = f"{name}[{index}] is {float(wide[first])}, expected a finite weight"
                advice = f"leave it out, with all after it, by --until {max(place.step - 1, 0)}"
                raise RecordError(str(place.path), [f"{told}; {advice}"])
        told = f"{name}: its weights are too large to be squared"
        raise RecordError(str(self._places[0].path), [told])

    def _add(self, block: _Block, products: Array) -> None:
        state = self._state
        state.partial += products
        state.done += 1
        if block.stop == self._stored[block.tensor][0].numel:
            squares = between_all(state.partial)
            state.rows[0, :, block.tensor] = squares[0, 1:]
            state.rows[1, :, block.tensor] = squares[1, 1:]
            state.rows[2, :, block.tensor] = np.cumsum(state.partial[0])
            state.rows[3, 1:, block.tensor] = np.diag(state.partial)[1:]
            state.products += state.partial
            state.partial = np.zeros_like(state.partial)

    def _identify(self) -> str:
        """What a journal has to be of: the same files, tensors and blocks, unchanged."""
        used = {file for row in self._stored for one in row for file in one.files}
        signs = sorted((str(file.absolute()), *self._files.sign(file)) for file in used)
        told = [_VERSION, signs, [place.step for place in self._places], self._names]
        cut = [(block.tensor, block.start, block.stop) for block in self._blocks]
        places = [[repr(one) for one in row] for row in self._stored]
        return hashlib.sha256(json.dumps([told, cut, places]).encode()).hexdigest()

    def _kept(self) -> _State | None:
        try:
            with np.load(self._journal, allow_pickle=False) as kept:
                if str(kept["identity"]) != self._identity:
                    return None
                found = [np.array(kept[name]) for name in ("rows", "products", "partial")]
                return _State(int(kept["done"]), *found)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def _save(self) -> None:
        state, content = self._state, io.BytesIO()
        np.savez(
            content,
            identity=self._identity,
            done=state.done,
            rows=state.rows,
            products=state.products,
            partial=state.partial,
        )
        with suppress(OSError):  # it saves time, and nothing else
            make_folder(self._journal.parent)
            with whole_file(self._journal) as file:
                file.write(content.getvalue())

    def forget(self) -> None:
        """Remove the journal."""
        self._journal.unlink(missing_ok=True)


def products_of_steps(values: Sequence[torch.Tensor]) -> Array:
    """Products e_a·e_b of the first values and of what each of the others adds to the one before.

    Arguments:
        values: of each checkpoint, vectors of one length and of floating types.

    Returns:
        In float64 `(checkpoint, checkpoint)`.

    >>> products_of_steps([torch.tensor([3.0, 0.0]), torch.tensor([3.0, 4.0])])
    array([[ 9.,  0.],
           [ 0., 16.]])
    """
    count, size = len(values), values[0].numel()
    length = max(_CACHED // (8 * count), _SHORTEST)
    steps = torch.empty(count, min(length, size), dtype=torch.float64)
    total = np.zeros((count, count))
    with np.errstate(all="ignore"):  # what is not finite is told by who calls
        for start in range(0, size, length):
            part = min(length, size - start)
            rows = steps[:, :part].unbind()
            for row, one in zip(rows, values, strict=True):
                row.copy_(one[start : start + part])
            for k in range(count - 1, 0, -1):  # each before that which it is taken from changes
                rows[k].sub_(rows[k - 1])
            block = steps.numpy()[:, :part]
            total += _between(block)
    return total


def _between(rows: Array) -> Array:
    """Products of all pairs of rows; a product of matrices takes four times as long for three."""
    if len(rows) > _FEW:
        return rows @ rows.T
    found = np.empty((len(rows), len(rows)))
    for k in range(len(rows)):
        found[k, k:] = found[k:, k] = rows[k:] @ rows[k]
    return found
