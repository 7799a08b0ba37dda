"""Whether the gradients of an update are cleared before the next one."""

from collections.abc import Callable, Hashable

KEPT = (
    "gradients were not cleared before the first backward pass of the update, so they hold those "
    "of updates before: call optimizer.zero_grad() after each step"
)
# Times that gradients are looked at, which waits for the device, and are found to be zero.
_LOOKS = 16


class Clearing:
    """What becomes of gradients between a step and the first backward pass after it.

    Attributes:
        expected: whether all should be cleared between updates.
    """

    def __init__(self) -> None:
        self.expected = True
        self._used: Hashable = None
        self._looks = {True: _LOOKS, False: _LOOKS}  # at what was left alone since then, or not

    def stepped(self, mark: Hashable) -> None:
        """Remember the first gradient after a step, and how often it was changed."""
        self._used = mark

    def failed(self, mark: Hashable, zeroed: Callable[[], bool]) -> bool:
        """Whether an update begins with gradients of those before.

        Arguments:
            mark: the first gradient that there is.
            zeroed: whether all of them are zero, which is asked a few times.
        """
        alike = mark == self._used
        if not (self.expected and self._looks[alike]):
            return False
        if zeroed():
            self._looks[alike] -= 1
            return False
        return True
