from .breakdown import (
    ArmScale as ArmScale,
    Breakdown as Breakdown,
    GradientNoise as GradientNoise,
    arm_scales as arm_scales,
    noise_breakdown as noise_breakdown,
    noisy_arms as noisy_arms,
    run_noise_scale as run_noise_scale,
)
from .scale import NoiseScale as NoiseScale
