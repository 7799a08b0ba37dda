"""How the weights of a network move while it trains.

    import ultraslow as us

    with us.attach(model, optimizer, "runs/r50-b8192-s0", batch_size=8192) as recorder:
        ...                                # record: see `us.attach`
    runs = us.load("runs/*.nc")            # read
    fit = us.fit_growth(distance)          # fit growth laws
    verdicts = us.test(runs)               # test predictions
    us.report(runs, "report.html")         # tell

Contents:
    attach           record a training run
    Recorder         what `attach` returns
    cost             what probes will take: memory, traffic, disk
    Cost             what `cost` returns
    Evaluation       held-out numbers on a schedule
    Landscape        the loss around the weights at checkpoints
    verify           compare what is recorded with the truth, in your own training or on a toy
    upload           copy a recording to an object store
    load             read recordings
    import_runs      recordings of curves that other programs logged
    to_frame         recordings as one table of pandas, a row a record
    RecordError      what is wrong with one, with all its faults
    fit_growth       fit the growth family to a distance
    growth_curve     the fitted curve at any iteration
    decade_ratio     how much distance the last decade of iterations added
    local_shape      how the slope of a distance in ln t changes along the curve
    run_noise_scale  the gradient noise scale of a run
    critical_batch   the batch size beyond which larger ones stop paying
    test             test the predictions
    compare_laws     which laws of growth survive by what they forecast
    certify          how often the fits of series like these miss, simulated
    plot             figures, each on a pair of axes: `us.plot.distance(runs)`
    report           one page of everything, and its numbers as JSON
    probes           the package that measures
    analysis         the package that decides
    diffusion        the theory

Names are imported when they are first used, so that commands start fast.
"""

from pathlib import Path

import lazy_loader

__version__ = "0.1.0"

if not (Path(__file__).parent / "diffusion").is_dir():  # a checkout whose links are plain files
    __path__.append(str(Path(__file__).parents[2]))

__getattr__, _names, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __dir__() -> list[str]:
    return sorted([*_names(), "__version__"])
