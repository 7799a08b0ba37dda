"""Analysis: read recordings, fit growth laws, test predictions, report.

    runs = us.load("runs/*.nc")
    fits = us.fit_growth(distance)
    verdicts = us.test(runs)
    us.report(runs, "report.html")

Contents:
    runs         recordings read, named and gathered into arms
    intervals    intervals across seeds, contrasts, and the words they decide
    growth       fits of the growth family, with intervals
    comparison   laws compared by what they forecast
    noise        gradient noise scales
    scores       held-out scores: tuning, ladders, the critical batch size
    planning     what a study has to be to decide
    study        recordings that may be tested together
    predictions  the verdicts
    plot         figures
    report       the page, its figures and tables
    importers    curves that other programs logged, as recordings
    exporters    recordings as tables
    text         numbers in words
    cli          the commands from `info` and `fit` to `plan` and `simulate`
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
