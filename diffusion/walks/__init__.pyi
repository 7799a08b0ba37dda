from .recordings import simulator as simulator
from .roughness import structure as structure
from .simulators import Setup as Setup
