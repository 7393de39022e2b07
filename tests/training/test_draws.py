"""What is random in training is a pure function of (seed, step, position)."""

import math

import pytest
import torch

from unnoise.process import EDM, Cosine, DiscreteVP, Flow
from unnoise.training import LossConfig, batches, order, times
from unnoise.training.draws import Draws


@pytest.mark.parametrize("count", [1, 7, 64])
def test_every_epoch_shows_every_picture_once(count):
    shown = order.pictures_at(3, range(3 * count), count)
    for epoch in range(3):
        assert sorted(shown[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_epochs_and_seeds_have_orders_of_their_own():
    first, second = (order.permutation(0, epoch, 100).tolist() for epoch in (0, 1))
    assert first != second
    assert first != order.permutation(1, 0, 100).tolist()


def test_a_batch_is_a_stretch_of_the_same_sequence_whatever_its_size():
    stream = order.pictures_at(5, range(24), 10)
    for size in (8, 2):
        steps = [Draws(5, step, range(size)) for step in range(24 // size)]
        assert [i for draws in steps for i in order.pictures_at(5, draws.samples(size), 10)] == stream


@pytest.mark.parametrize("stratified", [False, True])
def test_fractions_depend_on_the_position_in_the_global_batch_alone(stratified):
    whole = times.fractions(Draws(1, 9, range(8)), 8, stratified)
    parts = torch.cat([times.fractions(Draws(1, 9, range(i, i + 2)), 8, stratified) for i in range(0, 8, 2)])
    assert torch.equal(whole, parts)
    assert not torch.equal(whole, times.fractions(Draws(1, 10, range(8)), 8, stratified))


def test_stratified_fractions_leave_no_eighth_of_a_batch_of_eight_empty():
    for step in range(20):
        fraction = times.fractions(Draws(0, step, range(8)), 8, True)
        assert sorted((fraction * 8).floor().tolist()) == list(range(8))


def drawn(schedule, count=4000, **loss):
    fraction = times.fractions(Draws(0, 0, range(count)), count, True)
    return times.levels(LossConfig(**loss), schedule, fraction)


def test_uniform_discrete_times_are_whole_and_equally_often():
    time = drawn(DiscreteVP.linear(steps=10)).time
    assert torch.bincount(time.long(), minlength=10).tolist() == [400] * 10
    assert torch.equal(time, time.round())


@pytest.mark.parametrize("schedule", [Cosine(), Flow(shift=3.0), Flow()])
def test_uniform_continuous_times_fill_the_schedule(schedule):
    time = drawn(schedule).time
    low, high = schedule.cleanest.time, schedule.noisiest.time
    assert float(time.min()) >= low
    assert float(time.max()) <= high
    # A stratified sample of n has the mean of the law to within its spread / n.
    assert float(time.mean()) == pytest.approx((low + high) / 2, abs=1e-3)


def test_log_normal_has_the_mean_and_spread_asked_for():
    level = drawn(EDM(), times="log_normal", mean=-1.2, std=1.2)
    logs = torch.as_tensor(level.sigma).log()
    assert float(logs.mean()) == pytest.approx(-1.2, abs=0.01)
    assert float(logs.std()) == pytest.approx(1.2, abs=0.01)
    assert torch.equal(level.time, level.sigma)


def test_logit_normal_has_its_median_at_the_sigmoid_of_its_mean():
    level = drawn(Flow(start=1e-9), times="logit_normal", mean=0.7, std=1.0)
    assert float(level.time.median()) == pytest.approx(1 / (1 + math.exp(-0.7)), abs=1e-3)


@pytest.mark.parametrize("shift", [0.5, 3.0])
def test_a_shift_moves_the_median_as_published(shift):
    """Esser et al. 2024, eq. 23: t becomes shift t / (1 + (shift - 1) t)."""
    time = float(drawn(Flow(start=1e-9), times="logit_normal", mean=0.7, shift=shift).time.median())
    plain = 1 / (1 + math.exp(-0.7))
    assert time == pytest.approx(shift * plain / (1 + (shift - 1) * plain), abs=1e-3)


def taught(bins=4):
    """A law that has learned losses 1, 2, 3, 4 in its four bins."""
    moments = times.SecondMoments(bins)
    fraction = (torch.arange(40) % bins + 0.5).double() / bins
    moments.learn(fraction, (fraction * bins).ceil())
    return moments


def test_importance_is_uniform_until_every_bin_has_ten_losses():
    moments = times.SecondMoments(4)
    moments.learn(torch.full((100,), 0.1).double(), torch.full((100,), 7.0))
    fraction = times.fractions(Draws(0, 0, range(9)), 9, True)
    bent, weight = moments.bend(fraction)
    assert torch.allclose(bent, fraction, rtol=0, atol=1e-12)
    assert weight.tolist() == [1.0] * 9


def test_importance_draws_in_proportion_to_the_root_of_the_second_moment():
    moments = taught()
    expected = [0.999 * size / 10 + 0.001 / 4 for size in (1, 2, 3, 4)]
    assert moments.probabilities().tolist() == pytest.approx(expected, rel=1e-12)
    bent, weight = moments.bend(times.fractions(Draws(0, 0, range(4000)), 4000, True))
    counts = torch.bincount((bent * 4).long(), minlength=4) / 4000
    assert counts.tolist() == pytest.approx(expected, abs=1e-3)
    # Weighed by 1 / (bins p), any function has the mean that it has under the uniform law.
    assert float((weight * bent.square()).mean()) == pytest.approx(1 / 3, abs=1e-3)


def test_importance_learns_nothing_from_samples_that_weigh_nothing():
    moments, fraction = times.SecondMoments(bins=4), torch.arange(40, dtype=torch.float64).add(0.5) / 40
    moments.learn(fraction, torch.arange(40, dtype=torch.float64))
    before = moments.probabilities()
    moments.learn(fraction, torch.full((40,), math.nan))
    assert torch.equal(moments.probabilities(), before)


def test_importance_keeps_the_last_ten_losses_of_a_bin():
    moments = taught()
    moments.learn(torch.full((10,), 0.01).double(), torch.full((10,), 4.0))
    assert moments.losses[0].tolist() == [4.0] * 10
    assert moments.counts.tolist() == [20, 10, 10, 10]


def noise(**loss):
    drawn_noise, seen = batches._noise(LossConfig(**loss), Draws(0, 5, range(400)), (2, 4, 4))
    return drawn_noise, seen


def test_offset_noise_has_the_variance_of_its_two_parts():
    """Of a pixel 1 + o^2; of a channel's mean 1/16 + o^2. 800 channels: within 5 standard errors."""
    plain, _ = noise()
    moved, seen = noise(offset_noise=0.5)
    assert seen is moved
    shift = moved - plain
    assert torch.allclose(shift, shift[:, :, :1, :1].expand_as(shift), rtol=0, atol=1e-6)
    assert float(shift[:, :, 0, 0].var()) == pytest.approx(0.25, rel=5 * math.sqrt(2 / 800))
    assert float(moved.mean((2, 3)).var()) == pytest.approx(1 / 16 + 0.25, rel=5 * math.sqrt(2 / 800))


def test_input_perturbation_changes_what_is_seen_and_not_what_is_asked():
    plain, _ = noise()
    asked, seen = noise(input_perturbation=0.1)
    assert torch.equal(asked, plain)
    assert float((seen - asked).std()) == pytest.approx(0.1, rel=0.05)
    assert abs(float(((seen - asked) * plain).mean())) < 0.005


@pytest.mark.parametrize("law", ["uniform", "logit_normal", "log_normal", "importance"])
@pytest.mark.parametrize(
    "schedule", [DiscreteVP.linear(), DiscreteVP.scaled_linear().zero_terminal_snr(), Cosine(), EDM(), Flow()]
)
def test_every_law_stays_inside_every_schedule(law, schedule):
    level = drawn(schedule, count=500, times=law, std=5.0)
    assert bool((torch.as_tensor(level.sigma) > 0).all())
    ratio = torch.as_tensor(level.ratio)
    assert bool((ratio <= schedule.noisiest.ratio * (1 + 1e-9)).all())
    assert bool((ratio >= schedule.cleanest.ratio * (1 - 1e-9)).all())


def test_uniform_times_on_edm_are_uniform_in_sigma():
    # Deliberately not the sampler's timeline: what a network is trained on is the law's affair, and a run must resume.
    level = drawn(EDM(), times="uniform")
    assert float(torch.as_tensor(level.sigma).median()) == pytest.approx(40.0, abs=0.5)
