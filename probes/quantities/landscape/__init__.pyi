from .probe import Landscape as Landscape
from .probe import LandscapeProbe as LandscapeProbe
from .probe import Waypoints as Waypoints
