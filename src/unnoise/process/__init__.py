"""The forward process: adding noise, what a network predicts of it, and the Gaussian that undoes one step.

x_t = alpha_t x_0 + sigma_t eps. Variance-preserving, variance-exploding and flow models are this line at
different scalings.
"""

from unnoise.process.config import SCHEDULE_KINDS, schedule_from_config
from unnoise.process.continuous import EDM, Cosine, Flow
from unnoise.process.diffuser import Diffuser
from unnoise.process.discrete import DiscreteVP
from unnoise.process.estimate import Estimate
from unnoise.process.gaussian import Gaussian
from unnoise.process.level import Level, Scalar
from unnoise.process.posterior import (
    FixedLarge,
    FixedSmall,
    LearnedRange,
    Optimal,
    PosteriorVariance,
    Transition,
    transition,
)
from unnoise.process.prediction import Prediction
from unnoise.process.schedule import NoiseSchedule

__all__ = [
    "EDM",
    "SCHEDULE_KINDS",
    "Cosine",
    "Diffuser",
    "DiscreteVP",
    "Estimate",
    "FixedLarge",
    "FixedSmall",
    "Flow",
    "Gaussian",
    "LearnedRange",
    "Level",
    "NoiseSchedule",
    "Optimal",
    "PosteriorVariance",
    "Prediction",
    "Scalar",
    "Transition",
    "schedule_from_config",
    "transition",
]
