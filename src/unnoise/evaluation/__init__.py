"""How well a model fits data, how far two sets of pictures are apart, and what each scheduler trades."""

from unnoise.evaluation.baselines import gaussian, independent_pixels
from unnoise.evaluation.bound import Chain, prior_cost, step_cost
from unnoise.evaluation.decoder import discretised_log_likelihood, nearest_level_log_likelihood
from unnoise.evaluation.flow import Flow
from unnoise.evaluation.likelihood import METHODS, bits_per_dim
from unnoise.evaluation.result import Likelihood

__all__ = [
    "METHODS",
    "Chain",
    "Flow",
    "Likelihood",
    "bits_per_dim",
    "discretised_log_likelihood",
    "gaussian",
    "independent_pixels",
    "nearest_level_log_likelihood",
    "prior_cost",
    "step_cost",
]
