"""The losses against their closed forms."""

import math

import pytest
import torch

from unnoise.errors import InputError
from unnoise.evaluation import discretised_log_likelihood
from unnoise.process import Cosine, Diffuser, DiscreteVP, Estimate, Gaussian, schedule_from_config
from unnoise.training import losses


def test_squared_error_is_a_mean_for_each_sample():
    error = losses.squared_error(torch.tensor([[[1.0, 3.0]], [[0.0, 0.0]]]), torch.zeros(2, 1, 2))
    assert error.tolist() == [5.0, 0.0]


@pytest.mark.parametrize("deviation", [1e-3, 0.02, 0.3, 2.0])
@pytest.mark.parametrize("mean", [-1.3, 0.0, 0.7, 0.999])
@pytest.mark.parametrize("bins", [17, 256])
def test_the_decoder_is_a_distribution(deviation, mean, bins):
    grid = -1 + 2 * torch.arange(bins, dtype=torch.float64) / (bins - 1)
    log = discretised_log_likelihood(grid, Gaussian(torch.full_like(grid, mean), deviation**2), bins)
    assert float(log.exp().sum()) == pytest.approx(1.0, abs=1e-12)


def test_the_decoder_charges_the_far_tail_its_true_price():
    """Six deviations out of N(0, (5/255)^2): 28.2 bits, where float32 differences of CDFs stick at 39.7."""
    deviation = 5 / 255
    log = discretised_log_likelihood(torch.tensor([6 * deviation]), Gaussian(torch.zeros(1), deviation**2))
    assert float(-log / math.log(2)) == pytest.approx(28.2, abs=0.1)


def hybrid(time, v=0.3):
    """A diffuser whose x0 is off, with x, x0 and the estimate; float64 so that the closed form shows."""
    schedule = DiscreteVP.linear(steps=50)
    diffuser = Diffuser(lambda x, t: x, schedule, "noise", "learned_range")
    draw = torch.Generator().manual_seed(1)
    x0 = (torch.randn(2, 1, 2, 2, generator=draw) * 0.5).clamp(-1, 1)
    eps, output = torch.randn(2, 2, 1, 2, 2, generator=draw)
    level = schedule.level(torch.full((2,), float(time), dtype=torch.float64))
    x = diffuser.add_noise(x0, eps, level)
    output = output.requires_grad_()
    variance = torch.full_like(x, v, requires_grad=True)
    return (
        schedule,
        diffuser,
        x0,
        x,
        Estimate(x, level, output, diffuser.prediction, variance),
        output,
        variance,
    )


@pytest.mark.parametrize("time", [1, 2, 30, 49])
def test_the_bound_is_the_kl_of_two_gaussians_in_bits(time):
    schedule, diffuser, x0, x, estimate, output, _ = hybrid(time)
    betas = schedule.betas.tolist()
    keep = [math.prod(1 - b for b in betas[: t + 1]) for t in range(50)]
    beta, before, now = betas[time], keep[time - 1], keep[time]
    small = beta * (1 - before) / (1 - now)
    log_variance = 0.65 * math.log(beta) + 0.35 * math.log(small)
    of_x0 = beta * math.sqrt(before) / (1 - now)
    wrong = (x - math.sqrt(1 - now) * output.detach()) / math.sqrt(now)
    gap = of_x0 * (wrong - x0)
    kl = 0.5 * (
        log_variance - math.log(small) - 1 + small / math.exp(log_variance) + gap**2 / math.exp(log_variance)
    )
    expected = kl.flatten(1).mean(1) / math.log(2)
    assert torch.allclose(losses.bound_term(diffuser, x0, x, estimate), expected, rtol=1e-4)


def test_the_last_step_costs_what_the_decoder_says():
    _, diffuser, x0, x, estimate, _, _ = hybrid(0)
    schedule = diffuser.schedule
    beta, floor = float(schedule.betas[0]), losses.smallest_variance(schedule)
    variance = math.exp(0.65 * math.log(beta) + 0.35 * math.log(floor))
    mean = estimate.x0.detach()
    log = discretised_log_likelihood(x0, Gaussian(mean, variance))
    expected = -log.flatten(1).mean(1) / math.log(2)
    assert torch.allclose(losses.bound_term(diffuser, x0, x, estimate), expected, rtol=1e-4)


@pytest.mark.parametrize("time", [0, 1, 49])
def test_the_bound_teaches_the_variance_and_never_the_mean(time):
    _, diffuser, x0, x, estimate, output, variance = hybrid(time)
    losses.bound_term(diffuser, x0, x, estimate).sum().backward()
    assert output.grad is None
    assert bool(variance.grad.isfinite().all())
    assert float(variance.grad.abs().sum()) > 0


def test_a_learned_variance_needs_steps():
    with pytest.raises(InputError, match="discrete_vp"):
        losses.chain_length(Cosine())
    assert losses.chain_length(schedule_from_config({"kind": "discrete_vp", "curve": "cosine"})) == 1000
