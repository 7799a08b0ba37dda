"""Curves that other programs logged, as recordings.

Contents:
    importing      what is asked for, and the files that are made
    files          files found, read and told apart
    delimited      CSV
    logs           JSON: an object a line, lists, Hugging Face's trainer state
    event_files    event files of TensorBoard
    sheet          rows and columns of a file, and the numbers in them
    columns        which column is what
    conditions     which rows are used
    stitching      rows of one run in the order of its updates
    lags           distances between two iterations
    rates          learning rates that are said, or logged now and then
    overruled      what a file says and a person said otherwise
    packing        from rows to a recording
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
