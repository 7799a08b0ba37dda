"""Images in memory, from files and folders.

Contents:
    datasets  sets of images by name
    formats   files of MNIST and CIFAR
    folders   a folder a class
    batches   microbatches of a set, drawn in order
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
