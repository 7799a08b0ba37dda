from .table import test as test
