from .probe import Landscape as Landscape
from .probe import LandscapeProbe as LandscapeProbe
