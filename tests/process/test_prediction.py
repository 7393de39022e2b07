import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from closed_forms import SCHEDULES
from unnoise.errors import InputError
from unnoise.process import EDM, Cosine, Diffuser, DiscreteVP, Estimate, Level
from unnoise.process import prediction as predictions
from unnoise.schedulers import Consistency

KINDS = predictions.NAMES


def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 4, 4, generator=generator).double(), torch.randn(
        2, 3, 4, 4, generator=generator
    ).double()


@pytest.mark.parametrize("kind", KINDS)
@given(angle=st.floats(0.01, math.pi / 2 - 0.01), scale=st.floats(0.1, 10.0))
def test_every_kind_gives_back_the_sample_and_the_noise(kind, angle, scale):
    # Rounding grows with 1/alpha and 1/sigma, both at most 1000 here.
    x0, eps = pair()
    level = Level(0.0, scale * math.cos(angle), scale * math.sin(angle))
    x = level.alpha * x0 + level.sigma * eps
    prediction = predictions.get(kind)
    sample, noise = prediction.estimate(prediction.target(x0, eps, level), x, level)
    assert (sample - x0).abs().max() < 1e-11
    assert (noise - eps).abs().max() < 1e-11


@pytest.mark.parametrize("kind", KINDS)
def test_levels_by_sample_equal_levels_one_by_one(kind):
    x0, eps = pair()
    schedule = DiscreteVP.linear()
    level = schedule.level(torch.tensor([10.0, 900.0]))
    prediction = predictions.get(kind)
    together = prediction.target(x0, eps, level)
    for row, time in enumerate((10.0, 900.0)):
        alone = prediction.target(x0[row : row + 1], eps[row : row + 1], schedule.level(time))
        assert (together[row] - alone[0]).abs().max() < 1e-14


@pytest.mark.parametrize("kind", ["sample", "velocity", "flow", "edm"])
@pytest.mark.parametrize("level", [Level(1.0, 0.0, 1.0), Level(0.0, 1.0, 0.0)], ids=["no signal", "no noise"])
def test_both_ends_are_ordinary(kind, level):
    x0, eps = pair()
    x = level.alpha * x0 + level.sigma * eps
    prediction = predictions.get(kind)
    sample, noise = prediction.estimate(prediction.target(x0, eps, level), x, level)
    assert (sample - x0).abs().max() < 1e-14
    if kind == "sample" and level.sigma == 0.0:
        assert (noise == 0.0).all()
    else:
        assert (noise - eps).abs().max() < 1e-14


@pytest.mark.parametrize("kind", ["noise", "score"])
def test_noise_tells_nothing_where_all_is_noise(kind):
    _, eps = pair()
    with pytest.raises(InputError, match="velocity"):
        predictions.get(kind).sample(eps, eps, Level(1.0, 0.0, 1.0))
    with pytest.raises(InputError, match="zero terminal SNR"):
        Diffuser(lambda x, t: x, SCHEDULES["zero_terminal"], prediction=kind)


@pytest.mark.parametrize("kind", ["noise", "score"])
def test_one_sample_of_a_batch_without_signal_is_enough(kind):
    x = torch.ones(2, 1, 2, 2)
    with pytest.raises(InputError, match="alpha is 0"):
        predictions.get(kind).sample(x, x, Cosine().level(torch.tensor([0.5, 1.0])))


@pytest.mark.parametrize("kind", [*map(predictions.get, KINDS), Consistency()], ids=lambda kind: kind.name)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_without_noise_target_and_noise_are_numbers_for_one_level_and_for_many(kind, dtype):
    x, clean = torch.ones(2, 1, 2, 2, dtype=dtype), Level(0.0, 1.0, 0.0)
    many = Level(*(torch.full((2,), part, dtype=torch.float64) for part in (0.0, 1.0, 0.0)))
    for level in (clean, many):
        assert kind.noise(x, x, level).isfinite().all()
        assert kind.target(x, x, level).isfinite().all()
    assert torch.equal(kind.noise(x, x, clean), kind.noise(x, x, many))


def test_a_consistency_model_has_a_target_at_its_lowest_level():
    x, kind = torch.ones(1, 1, 2, 2), Consistency(sigma_min=0.002)
    assert (kind.target(x, x, EDM().level(0.002)) == 0.0).all()


@pytest.mark.parametrize("kind", [predictions.Preconditioned, Consistency])
@pytest.mark.parametrize("deviation", [0.0, -0.5, math.nan, math.inf])
def test_a_deviation_of_the_data_that_cannot_be_is_refused(kind, deviation):
    with pytest.raises(InputError, match="sigma_data is"):
        kind(deviation)


def test_edm_preconditioning_is_the_paper_s():
    # Karras et al. 2022, table 1, in the units where the signal has factor 1.
    w, d = 3.0, 0.5
    x0, eps = pair()
    level, prediction = Level(w, 1.0, w), predictions.Preconditioned(d)
    x, output = x0 + w * eps, eps * 0.3
    by_paper = d**2 / (w**2 + d**2) * x + w * d / math.sqrt(w**2 + d**2) * output
    assert (prediction.sample(output, x, level) - by_paper).abs().max() < 1e-14
    assert prediction.input_scale(level) == pytest.approx(1.0 / math.sqrt(w**2 + d**2))


def test_edm_targets_have_unit_variance_on_data_of_its_deviation():
    d = 0.5
    for w in (0.01, 0.5, 5.0, 80.0):
        p, q = predictions.Preconditioned(d).of_target(1.0, w)
        assert math.hypot(p * d, q) == pytest.approx(1.0, rel=1e-12)


def test_views_of_one_estimate_agree():
    x0, eps = pair()
    level = DiscreteVP.linear().level(400.0)
    x = level.alpha * x0 + level.sigma * eps
    for kind in KINDS:
        prediction = predictions.get(kind)
        estimate = Estimate(x, level, prediction.target(x0, eps, level), prediction)
        assert (estimate.flow - (eps - x0)).abs().max() < 1e-12
        assert (estimate.velocity - (level.alpha * eps - level.sigma * x0)).abs().max() < 1e-12


def test_clipping_moves_the_sample_and_the_noise_together():
    x0, eps = pair()
    level = DiscreteVP.linear().level(400.0)
    x = level.alpha * x0 + level.sigma * eps
    estimate = Estimate(x, level, eps, predictions.get("noise"), clip=0.5)
    assert estimate.x0.abs().max() == 0.5
    assert (level.alpha * estimate.x0 + level.sigma * estimate.noise - x).abs().max() < 1e-14


def test_unknown_kinds_are_refused_with_the_known():
    with pytest.raises(InputError, match="velocity"):
        predictions.get("vpred")
