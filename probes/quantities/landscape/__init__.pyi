from .probe import Landscape as Landscape, LandscapeProbe as LandscapeProbe
