"""The report: one page, its figures and tables, and its numbers.

Contents:
    report       the page
    page         its parts
    data         what the figures show
    figures      how they are drawn
    tables       each result as tables
    exponents    tables of exponents, on iterations and on other clocks
    by_optimizer exponents in learning rate and batch size, by optimizer
    verdicts     verdicts as the terminal shows them
    batch_sizes  tables of critical batch sizes and noise scales
    absent       what recordings lack, and why; events of their runs
    table        how a table is shown
    markup       the page's templates, filled in
    numbers      the JSON file
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
