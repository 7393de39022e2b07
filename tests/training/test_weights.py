"""What an error counts at each level, against the published forms."""

import math

import pytest
import torch

from unnoise.errors import InputError
from unnoise.process import Level
from unnoise.process import prediction as predictions
from unnoise.training import LossConfig, weights

VP = [(0.99, math.sqrt(1 - 0.99**2)), (0.6, 0.8), (0.1, math.sqrt(0.99))]
RULES = ("min_snr", "debiased", "p2", "edm")


def vp_level():
    alpha, sigma = (torch.tensor(values, dtype=torch.float64) for values in zip(*VP, strict=True))
    return Level(torch.zeros(3, dtype=torch.float64), alpha, sigma)


def weight(rule, name, level=None, **settings):
    return weights.loss_weight(
        LossConfig(weight=rule, **settings), predictions.get(name), level or vp_level()
    )


@pytest.mark.parametrize(
    ("rule", "name", "form"),
    [
        ("min_snr", "sample", lambda snr: min(snr, 5.0)),
        ("min_snr", "noise", lambda snr: min(snr, 5.0) / snr),
        ("min_snr", "velocity", lambda snr: min(snr, 5.0) / (snr + 1.0)),
        ("debiased", "noise", lambda snr: 1.0 / math.sqrt(snr)),
        ("p2", "noise", lambda snr: 1.0 / (1.0 + snr)),
        ("edm", "sample", lambda snr: (1 / snr + 0.25) / (1 / snr * 0.25)),
        ("edm", "edm", lambda snr: 1.0),
    ],
)
def test_the_weight_is_the_published_one(rule, name, form):
    expected = [form((alpha / sigma) ** 2) for alpha, sigma in VP]
    assert weight(rule, name).tolist() == pytest.approx(expected, rel=1e-12)


def test_p2_has_its_two_numbers():
    expected = [(2.0 + (a / s) ** 2) ** -0.5 for a, s in VP]
    assert weight("p2", "noise", p2_k=2.0, p2_gamma=0.5).tolist() == pytest.approx(expected, rel=1e-12)


def test_the_plain_loss_has_no_weight():
    assert weight("simple", "noise") is None


@pytest.mark.parametrize("name", predictions.NAMES)
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_one_loss_whatever_the_network_predicts(name, rule):
    """weight * (error of the output)^2 equals the weight for x0 * (error of x0)^2."""
    kind, level = predictions.get(name), vp_level()
    x0, noise, off = torch.randn(3, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = level.expand("alpha", x0) * x0 + level.expand("sigma", x0) * noise
    estimated, _ = kind.estimate(kind.target(x0, noise, level) + 0.01 * off, x, level)
    left = weight(rule, name) * (0.01 * off).square().mean(1)
    right = weight(rule, "sample") * (estimated - x0).square().mean(1)
    assert torch.allclose(left, right, rtol=1e-9, atol=0)


@pytest.mark.parametrize("rule", RULES)
def test_what_has_no_weight_is_refused(rule):
    level = Level(999.0, 0.0, 1.0)
    with pytest.raises(InputError, match="noise prediction at a level without signal"):
        weight(rule, "noise", level)
    assert math.isfinite(weight(rule, "velocity", level).item())


def test_the_learned_uncertainty_finds_the_logarithm_of_the_loss():
    """Losses c exp(-lambda / 4) with noise of mean 1: u goes to their logarithm, and every level then costs 1 + u."""
    torch.manual_seed(0)
    learned = weights.Uncertainty()
    assert learned(torch.tensor([-math.inf, 0.0, math.inf])).tolist() == [0.0, 0.0, 0.0]
    descent = torch.optim.Adam(learned.parameters(), 0.02)
    for _ in range(600):
        log_snr = torch.rand(256) * 12 - 6
        loss = 0.3 * torch.exp(-log_snr / 4) * -torch.rand(256).log()
        level = Level(log_snr, torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt())
        descent.zero_grad()
        learned.balance(loss, level).mean().backward()
        descent.step()
    place = torch.linspace(-5, 5, 11)
    truth = math.log(0.3) - place / 4
    assert (learned(place) - truth).abs().max().item() < 0.15
