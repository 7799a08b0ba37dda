"""The error that carries a recording's faults; apart, so that commands start without numpy."""

from collections.abc import Iterable


class RecordError(ValueError):
    """A recording that cannot be used, with every fault that was found.

    Attributes:
        source: the file, folder or run the faults were found in.
        faults: one sentence a fault.
    """

    def __init__(self, source: str, faults: Iterable[str]) -> None:
        self.source = str(source)
        self.faults = tuple(faults)
        super().__init__(f"{self.source}: " + "; ".join(self.faults))
