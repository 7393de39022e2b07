"""How well a model fits data, how far two sets of pictures are apart, and what each scheduler trades."""

from unnoise.evaluation.baselines import gaussian, independent_pixels
from unnoise.evaluation.bound import Chain, prior_cost, step_cost
from unnoise.evaluation.decoder import discretised_log_likelihood, nearest_level_log_likelihood
from unnoise.evaluation.distances import energy, frechet, kernel, sliced_wasserstein
from unnoise.evaluation.flow import Flow
from unnoise.evaluation.likelihood import METHODS, bits_per_dim
from unnoise.evaluation.neighbours import Manifold, Nearest, manifold, nearest
from unnoise.evaluation.result import Likelihood
from unnoise.evaluation.sets import Interval, SetDistance, distance

__all__ = [
    "METHODS",
    "Chain",
    "Flow",
    "Interval",
    "Likelihood",
    "Manifold",
    "Nearest",
    "SetDistance",
    "bits_per_dim",
    "discretised_log_likelihood",
    "distance",
    "energy",
    "frechet",
    "gaussian",
    "independent_pixels",
    "kernel",
    "manifold",
    "nearest",
    "nearest_level_log_likelihood",
    "prior_cost",
    "sliced_wasserstein",
    "step_cost",
]
