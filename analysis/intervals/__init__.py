"""Intervals, and what they decide.

Contents:
    interval  an estimate with its interval; Student's quantile and Fieller's ratio
    seeds     means across seeds, where the seeds are the sample
    contrast  differences between arms
    decision  supported, contradicted or undecidable
    continuation  how many more seeds would decide
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
