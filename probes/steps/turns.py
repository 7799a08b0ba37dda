"""When an iteration has ended, of several optimizers that train one model.

An iteration ends when each optimizer has stepped since the last one ended: Muon and then AdamW, or
a discriminator five times and then its generator. Or it ends with each step of one of them, the
*clock*, where the user says so.

Steps with no backward pass between them make a *burst*. Where all optimizers have once stepped in
one burst, they step together, and one that was left out of a burst, as mixed precision does with
an optimizer whose gradients are not finite, has skipped its step: what the others did is counted
with the next burst, as otherwise all later iterations would end one optimizer too early. One that
is left out ten times in succession has stopped, and is waited for no longer.
"""

from collections.abc import Collection

# Bursts without an end of an iteration, from which on something is wrong.
PATIENCE = 10
_SEVERAL = (
    "the optimizers step after backward passes of their own, as of a generator and its "
    "discriminator, so that an iteration has no one gradient; for the noise of each, attach a "
    "recorder to its module and its optimizer alone"
)


class Turns:
    """Counts steps and backward passes, and says when an iteration has ended."""

    def __init__(
        self, count: int, *, clock: int | None = None, stepped: Collection[int] = ()
    ) -> None:
        """Begin an iteration.

        Arguments:
            count: optimizers whose steps are waited for.
            clock: number of the one whose steps end iterations; None where each is waited for.
            stepped: those that have stepped already in the iteration at hand.
        """
        self.waiting = 0  # bursts in which steps ended no iteration, one after another
        self._all = frozenset(range(count))
        self.clock = clock
        self._wanted = self._all
        self._together = False
        self._passes = self._base = 0
        self._burst: set[int] = set()
        # Passes seen at the last step of each; −1 where that was before this process began.
        self._late: dict[int, int] = dict.fromkeys(stepped, -1)

    @property
    def stepped(self) -> frozenset[int]:
        """Those that have stepped in the iteration at hand."""
        return frozenset(self._late)

    @property
    def lacking(self) -> frozenset[int]:
        """Those that the iteration at hand waits for."""
        wanted = self._wanted if self.clock is None else {self.clock}
        return frozenset(wanted) - self.stepped

    @property
    def is_over(self) -> bool:
        """Whether the iteration at hand has ended, as none is lacking."""
        if self.clock is None:
            return self._late.keys() >= self._wanted
        return self.clock in self._late

    @property
    def has_one_gradient(self) -> bool:
        """Whether all steps of the iteration at hand followed the same backward passes."""
        return {self._base, self._passes}.issuperset(self._late.values())

    @property
    def fault(self) -> str:
        """Why the iteration at hand has no one gradient; empty where it has."""
        return "" if self.has_one_gradient else _SEVERAL

    def passes(self) -> frozenset[int]:
        """A backward pass begins.

        Returns:
            Those that are waited for no longer, as they have stopped; mostly none.
        """
        self._passes += 1
        if not self._burst:
            return frozenset()
        burst, self._burst = frozenset(self._burst), set()
        if self.is_over or not self._late:
            return frozenset()
        self.waiting += 1
        if self.clock is not None or not self._together:
            return frozenset()
        self._late = {}  # a step was skipped; see above
        if self.waiting < PATIENCE:
            return frozenset()
        stopped, self._wanted = self._wanted - burst, burst
        self.waiting = 0
        return stopped

    def steps(self, numbers: Collection[int]) -> None:
        """Optimizers have stepped: mostly one, or all that one has replaced."""
        self._burst.update(numbers)
        self._late.update(dict.fromkeys(numbers, self._passes))
        self._wanted |= set(numbers) & self._all
        self._together = self._together or self._burst >= self._all

    def end(self) -> None:
        """The iteration is entered, and the next one begins."""
        self._late = {}
        self._base = self._passes
        self.waiting = 0
