from .closure import closed_loop as closed_loop
from .powers import (
    log_power as log_power,
    power_advantage as power_advantage,
    shifted_power as shifted_power,
)
from .roughness import landscape_growth as landscape_growth, scans_of as scans_of
from .temperature import activation as activation
