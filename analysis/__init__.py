"""Analysis: read recordings, fit growth laws, test predictions, report.

    runs = analysis.load("runs/*.nc")
    fits = analysis.fit_growth(distance)
    verdicts = analysis.test(runs)
    analysis.report(runs, "report.html")

Names are imported when they are first used, so that commands start fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .certificate import certify
    from .growth import fit_growth, growth_curve
    from .hypotheses import test
    from .page import report
    from .reader import load

__all__ = ["certify", "fit_growth", "growth_curve", "load", "report", "test"]

# No module is named like a public function: importing it would hide the function.
_HOMES = {
    "certify": ".certificate",
    "fit_growth": ".growth",
    "growth_curve": ".growth",
    "load": ".reader",
    "report": ".page",
    "test": ".hypotheses",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
