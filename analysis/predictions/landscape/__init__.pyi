from .closure import closed_loop as closed_loop
from .roughness import landscape_growth as landscape_growth
from .temperature import activation as activation
