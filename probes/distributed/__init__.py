"""The processes of a run.

Contents:
    processes  who they are, what they share, how they add up
    alike      weights that processes should hold alike
    meetings   processes that come to a collective of the probes, or do not
    strategies ways to train in parallel that probes cannot follow
    children   processes that end with whoever started them
    interrupts Ctrl-C, which waits until nothing is half done
    sigterm    a request to end, and the update on which all processes agree to
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
