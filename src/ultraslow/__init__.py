"""How the weights of a network move while it trains.

    import ultraslow as us

    with us.attach(model, optimizer, "runs/r50-b8192-s0", batch_size=8192) as recorder:
        ...                                # record: see `us.attach`
    runs = us.load("runs/*.nc")            # read
    fit = us.fit_growth(distance)          # fit growth laws
    verdicts = us.test(runs)               # test predictions
    us.report(runs, "report.html")         # tell

`ultraslow.probes` measures, `ultraslow.analysis` decides, `ultraslow.diffusion` is the theory.
Names are imported when they are first used, so that commands start fast.
"""

from pathlib import Path

import lazy_loader

__version__ = "0.1.0"

if not (Path(__file__).parent / "diffusion").is_dir():  # a checkout whose links are plain files
    __path__.append(str(Path(__file__).parents[2]))

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
