"""Noise rules: how much of each step is drawn afresh.

A rule splits the way to the next level: the solver goes down to `down`, below it, and noise of the right size
brings the sample up again, so that in units of sigma / alpha  down^2 + fresh^2 = to^2  and the marginal is kept.
"""

from unnoise.schedulers.noise.ancestral import Ancestral, FlowAncestral, Posterior
from unnoise.schedulers.noise.base import Deterministic, NoiseRule, Place, Split, clock, none
from unnoise.schedulers.noise.churn import Churn
from unnoise.schedulers.noise.renoise import TCD, Renoise
from unnoise.schedulers.noise.sde import SDE, ExtendedSDE, Tau

__all__ = [
    "SDE",
    "TCD",
    "Ancestral",
    "Churn",
    "Deterministic",
    "ExtendedSDE",
    "FlowAncestral",
    "NoiseRule",
    "Place",
    "Posterior",
    "Renoise",
    "Split",
    "Tau",
    "clock",
    "none",
]
