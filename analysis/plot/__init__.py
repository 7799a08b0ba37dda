"""Figures, each on a pair of axes: `us.plot.distance(runs)`.

    runs = us.load("runs/*.nc")
    us.plot.distance(runs)                   # all arms, on a new figure
    us.plot.distance(runs, ax, arm="64, sqrt")

Each takes recordings as `us.load` gives them, or a study, draws what the analysis found, and
returns the axes. Figures of one `study_of(runs)` share its fits.

Contents:
    arms       what a figure shows of a study: arms, names, colours, curves
    clocks     `hero`, what a logarithm would have done; `collapse`, by clock
    colours    colours by role, in the light and in the dark
    drawing    figures as SVG of a page
    forests    `exponents` and `ladder`, a row an estimate
    growth     `distance`, with the laws fitted to it; `residuals`
    labels     names at the ends of curves
    look       marks, sizes of text, and axes
    noise      `noise_scale`, against iterations and batch sizes
    outcomes   `loss` and `generalization`
    paths      `straightness`, `aging` and `landscape`
    pixels     what a pixel shows of a curve
    rulers     `ruler` and `verdicts`
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
