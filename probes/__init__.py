"""Probes: measure a training run and record it.

    with probes.attach(model, optimizer, "runs/r50-b8192-s0", batch_size=8192) as recorder:
        for inputs, targets in loader:
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            recorder.observe(loss=loss)

Names are imported when they are first used, so that commands start fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .attachment import attach
    from .evaluation import Evaluation
    from .landscape import Landscape
    from .recorder import Recorder
    from .verification import verify

__all__ = ["Evaluation", "Landscape", "Recorder", "attach", "verify"]

_HOMES = {
    "Evaluation": ".evaluation",
    "Landscape": ".landscape",
    "Recorder": ".recorder",
    "attach": ".attachment",
    "verify": ".verification",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
