"""The report: one page, its figures and tables, and its numbers.

Contents:
    report        the page
    sections      its sections
    data          what the figures show
    figures       how they are drawn
    tables        fits and verdicts
    noise_table   noise scales
    ladder_table  ladders
    batch_table   critical batch sizes
    plan_table    plans
    markup        HTML
    numbers       the JSON file
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
