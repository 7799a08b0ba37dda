from .breakdown import ArmScale as ArmScale
from .breakdown import Breakdown as Breakdown
from .breakdown import GradientNoise as GradientNoise
from .breakdown import arm_scales as arm_scales
from .breakdown import noise_breakdown as noise_breakdown
from .breakdown import noisy_arms as noisy_arms
from .breakdown import run_noise_scale as run_noise_scale
from .scale import NoiseScale as NoiseScale
