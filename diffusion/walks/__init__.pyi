from .recordings import simulated_recordings as simulated_recordings, simulator as simulator
from .roughness import structure as structure
from .simulators import Setup as Setup
