"""What a study has to be to decide.

Contents:
    plan     decades, seeds and batch sizes that decide with a given power
    pilot    what is known beforehand, from recordings or stated
    shared_noise  the noise of an arm, from all its runs at once
    power    verdicts of simulated studies
    outlook  how often more seeds and longer runs would decide an arm
    certificate  how often fits of series like those at hand miss
    advice   what decides where P1 is undecided, which verdicts and plans both say
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
