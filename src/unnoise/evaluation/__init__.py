"""How well a model fits data, how far two sets of pictures are apart, and what each scheduler trades."""

from unnoise.evaluation.alignment import Alignment, retrieval
from unnoise.evaluation.baselines import gaussian, independent_pixels
from unnoise.evaluation.bound import Chain, prior_cost, step_cost
from unnoise.evaluation.cells import Cell, Report
from unnoise.evaluation.comparison import compare
from unnoise.evaluation.decoder import discretised_log_likelihood, nearest_level_log_likelihood
from unnoise.evaluation.distances import energy, frechet, kernel, sliced_wasserstein
from unnoise.evaluation.encoders import Encoder, load_encoder
from unnoise.evaluation.flow import Flow
from unnoise.evaluation.inspection import InspectedStep, Inspection, inspect_run
from unnoise.evaluation.likelihood import METHODS, bits_per_dim, vlb
from unnoise.evaluation.neighbours import Manifold, Nearest, manifold, nearest
from unnoise.evaluation.pictures import pixel_features, read_array, read_folder
from unnoise.evaluation.report import write_comparison, write_inspection
from unnoise.evaluation.result import Likelihood
from unnoise.evaluation.sets import Interval, SetDistance, distance
from unnoise.evaluation.tuning import HeldOut, Tuning, tune
from unnoise.evaluation.variance import fitted_variance

__all__ = [
    "METHODS",
    "Alignment",
    "Cell",
    "Chain",
    "Encoder",
    "Flow",
    "HeldOut",
    "InspectedStep",
    "Inspection",
    "Interval",
    "Likelihood",
    "Manifold",
    "Nearest",
    "Report",
    "SetDistance",
    "Tuning",
    "bits_per_dim",
    "compare",
    "discretised_log_likelihood",
    "distance",
    "energy",
    "fitted_variance",
    "frechet",
    "gaussian",
    "independent_pixels",
    "inspect_run",
    "kernel",
    "load_encoder",
    "manifold",
    "nearest",
    "nearest_level_log_likelihood",
    "pixel_features",
    "prior_cost",
    "read_array",
    "read_folder",
    "retrieval",
    "sliced_wasserstein",
    "step_cost",
    "tune",
    "vlb",
    "write_comparison",
    "write_inspection",
]
