"""Muon: every direction of a matrix is learned alike, the rest is AdamW's; a run is cut and continued to the bit."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import optimizer_runs
from optimizer_runs import check_cut_is_whole, draw_pictures
from unnoise.checkpoints.adapters.word import TaughtEmbedding
from unnoise.errors import InputError
from unnoise.networks.text_encoder import TextEncoder, TextEncoderConfig
from unnoise.training import memory, optimizers, settings
from unnoise.training.config import OptimizerConfig
from unnoise.training.trainer import Trainer

CPU = torch.device("cpu")


def drawn(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def moved(weight, gradients, lr=1e-2, name="muon", **more):
    """The way that a weight goes when it meets these gradients."""
    learned = nn.Parameter(weight.clone())
    config = OptimizerConfig(name=name, **({"weight_decay": 0.0} | more))
    optimizer = optimizers.build(config, nn.ParameterList([learned]), CPU)
    for gradient in gradients:
        learned.grad = gradient.clone()
        optimizer.step(lr)
    return learned.detach() - weight


@pytest.mark.parametrize("shape", [(32, 32), (24, 80), (80, 24)])
def test_polar_keeps_the_directions_and_makes_them_alike(shape):
    """Singular values over three powers of ten become 0.7 to 1.2 (the polynomial's range); their vectors stay."""
    rows, columns = shape
    short = min(shape)
    u = torch.linalg.qr(drawn(rows, short)).Q
    v = torch.linalg.qr(drawn(columns, short, seed=2)).Q
    singular = torch.logspace(0.0, -2.0, short)
    found = u.T @ optimizers.polar(u * singular @ v.T) @ v
    assert found.diagonal().min() > 0.6
    assert found.diagonal().max() < 1.25
    assert (found - found.diagonal().diag()).abs().max() < 0.03  # bfloat16's rounding


@pytest.mark.parametrize("shape", [(32, 32), (24, 80), (80, 24), (32, 16, 3, 3)])
def test_a_step_is_as_long_as_adamws_whatever_the_gradient_is(shape):
    """0.2 of the rate a number (Liu et al. 2025, section 2.2), and the gradient's own size does not matter."""
    for scale in (1e-6, 1.0, 1e4):
        way = moved(torch.zeros(shape), [drawn(*shape) * scale], lr=0.01)
        assert way.square().mean().sqrt() == pytest.approx(0.2 * 0.01, rel=0.2)


def test_no_directions_are_preferred():
    """Inputs turned by any rotation turn the step with them; AdamW's looks at numbers one by one."""
    gradients = [drawn(32, 48, seed=seed) for seed in range(3)]
    turn = torch.linalg.qr(drawn(48, 48, seed=9)).Q
    differ = {}
    for name in ("muon", "adamw"):
        plain = moved(torch.zeros(32, 48), gradients, name=name)
        turned = moved(torch.zeros(32, 48), [one @ turn for one in gradients], name=name)
        differ[name] = float((turned - plain @ turn).norm() / plain.norm())
    assert differ["muon"] < 0.03 < 0.3 < differ["adamw"]


def test_a_convolution_moves_as_its_matrix_and_stays_in_its_memory():
    gradients = [drawn(32, 16, 3, 3, seed=seed) for seed in range(3)]
    as_matrix = moved(torch.zeros(32, 144), [one.flatten(1) for one in gradients])
    weight = nn.Parameter(torch.zeros(32, 16, 3, 3).to(memory_format=torch.channels_last))
    place, strides = weight.data_ptr(), weight.stride()
    optimizer = optimizers.build(
        OptimizerConfig(name="muon", weight_decay=0.0), nn.ParameterList([weight]), CPU
    )
    for gradient in gradients:
        weight.grad = gradient.to(memory_format=torch.channels_last)
        optimizer.step(1e-2)
    torch.testing.assert_close(weight.detach().flatten(1), as_matrix, rtol=0, atol=1e-6)
    assert (weight.data_ptr(), weight.stride()) == (place, strides)


def test_the_mean_of_gradients_looks_one_ahead():
    """Where all agree but the last, the step is that of 0.95 of the mean so far and 0.05 of the last (Nesterov)."""
    one, last = drawn(24, 24), drawn(24, 24, seed=2)
    mean = 0.95 * 0.05 * one + 0.05 * last
    ahead = 0.95 * mean + 0.05 * last
    way = moved(torch.zeros(24, 24), [one, last], lr=1.0) - moved(torch.zeros(24, 24), [one], lr=1.0)
    expected = -0.2 * math.sqrt(24) * optimizers.polar(ahead)
    torch.testing.assert_close(way, expected, rtol=0, atol=1e-5)


def test_weights_decay_by_the_rate():
    weight = drawn(32, 32)
    less = moved(weight, [drawn(32, 32, seed=2)], lr=0.1, weight_decay=0.5)
    torch.testing.assert_close(
        less - moved(weight, [drawn(32, 32, seed=2)], lr=0.1), -0.05 * weight, rtol=0, atol=1e-6
    )


class Mixed(nn.Module):
    """A matrix, and all that is none: a table, a bias, a matrix of few rows, one that does not learn."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.words = nn.Embedding(64, 32)
        self.matrix = nn.Linear(32, 32)
        self.thin = nn.Linear(32, 8)
        self.frozen = nn.Linear(32, 32).requires_grad_(False)


def test_what_is_no_matrix_is_adamws_to_the_bit():
    ours, theirs = Mixed(), Mixed()
    for module, name in ((ours, "muon"), (theirs, "adamw")):
        optimizer = optimizers.build(OptimizerConfig(name=name), module, CPU)
        for seed in range(3):
            for weight in module.parameters():
                weight.grad = drawn(*weight.shape, seed=seed) if weight.requires_grad else None
            optimizer.step(1e-2)
    same = {
        name
        for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True)
        if torch.equal(one, other)
    }
    assert {name for name, _ in ours.named_parameters()} - same == {"matrix.weight"}


def test_tables_of_words_and_places_are_no_matrices():
    """However many rows: each is moved by the tokens that have it, and would be made as long as the rest."""
    encoder = TextEncoder(replace(TextEncoderConfig.small(64, 3, width=32, layers=1), positions=32))
    encoder.token_embedding = TaughtEmbedding(encoder.token_embedding, nn.Parameter(torch.zeros(20, 32)))
    matrices = optimizers.build(OptimizerConfig(name="muon"), encoder, CPU).matrices
    names = {weight: name for name, weight in encoder.named_parameters()}
    assert matrices
    assert all(names[weight].startswith("blocks.") for weight in matrices)


def test_an_uneven_problem_is_solved_in_fewer_steps():
    """Least squares whose inputs' deviations run from 1 to 1/300, both at the same rate, falling to zero."""
    turn = torch.linalg.qr(drawn(32, 32, seed=3)).Q
    inputs = drawn(512, 32) * torch.logspace(0.0, -2.5, 32) @ turn
    truth = drawn(32, 32, seed=4) * 0.1
    left = {}
    for name in ("muon", "adamw"):
        weight = nn.Parameter(torch.zeros(32, 32))
        optimizer = optimizers.build(
            OptimizerConfig(name=name, weight_decay=0.0), nn.ParameterList([weight]), CPU
        )
        for step in range(200):
            error = (inputs @ (weight - truth)).square().mean()
            (weight.grad,) = torch.autograd.grad(error, weight)
            optimizer.step(0.02 * (1.0 - step / 200))
        left[name] = float((weight.detach() - truth).norm() / truth.norm())
    assert left["muon"] < 0.7 * left["adamw"]


def test_one_moment_a_number_is_taken_and_told():
    optimizer = optimizers.build(OptimizerConfig(name="muon"), Mixed(), CPU)
    told = optimizer.bytes()
    optimizer.begin(1)
    kept = {key: one.nbytes for key, one in optimizer.tensors().items() if not key.endswith("step")}
    assert told == sum(kept.values())
    assert [key for key in kept if key.endswith("mean")] == ["1.mean"]


def test_weights_in_shares_are_refused():
    with pytest.raises(InputError, match=r"optimizer\.name is 'muon' and run\.shard is true"):
        optimizers.check(OptimizerConfig(name="muon"), shard=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    data = tmp_path_factory.mktemp("pictures")
    draw_pictures(data)
    return data


def config(*more):
    return optimizer_runs.config("muon", *more)


def test_six_steps_equal_two_and_four_to_the_bit(folder, tmp_path):
    assert check_cut_is_whole(folder, tmp_path, "muon") >= {"mean", "exp_avg"}


def test_the_plan_counts_its_moments(folder, tmp_path):
    learner = Trainer(folder, tmp_path / "run", config()).learner
    assert memory.estimate(learner).optimizer == learner.optimizer.bytes()
    plain = settings.override(config(), ["optimizer.name=adamw"])
    assert learner.optimizer.bytes() < Trainer(folder, tmp_path / "other", plain).learner.optimizer.bytes()
