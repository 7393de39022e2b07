"""What is random in training is a pure function of (seed, step, position)."""

import math

import pytest
import torch

from unnoise.process import EDM, Cosine, DiscreteVP, Flow
from unnoise.training import LossConfig, order, times


@pytest.mark.parametrize("count", [1, 7, 64])
def test_every_epoch_shows_every_picture_once(count):
    shown = [order.picture_at(3, sample, count) for sample in range(3 * count)]
    for epoch in range(3):
        assert sorted(shown[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_epochs_and_seeds_have_orders_of_their_own():
    first, second = (order.permutation(0, epoch, 100).tolist() for epoch in (0, 1))
    assert first != second
    assert first != order.permutation(1, 0, 100).tolist()


def test_a_batch_is_a_stretch_of_the_same_sequence_whatever_its_size():
    stream = [order.picture_at(5, sample, 10) for sample in range(24)]
    for size in (8, 2):
        batches = [order.batch_at(5, step, size, 10) for step in range(24 // size)]
        assert [index for batch in batches for index in batch] == stream


@pytest.mark.parametrize("stratified", [False, True])
def test_fractions_depend_on_the_position_in_the_global_batch_alone(stratified):
    whole = times.fractions(1, 9, range(8), 8, stratified)
    parts = torch.cat([times.fractions(1, 9, range(i, i + 2), 8, stratified) for i in range(0, 8, 2)])
    assert torch.equal(whole, parts)
    assert not torch.equal(whole, times.fractions(1, 10, range(8), 8, stratified))


def test_stratified_fractions_leave_no_eighth_of_a_batch_of_eight_empty():
    for step in range(20):
        fraction = times.fractions(0, step, range(8), 8, True)
        assert sorted((fraction * 8).floor().tolist()) == list(range(8))


def drawn(schedule, count=4000, **loss):
    fraction = times.fractions(0, 0, range(count), count, True)
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


@pytest.mark.parametrize("law", ["uniform", "logit_normal", "log_normal"])
@pytest.mark.parametrize(
    "schedule", [DiscreteVP.linear(), DiscreteVP.scaled_linear().zero_terminal_snr(), Cosine(), EDM(), Flow()]
)
def test_every_law_stays_inside_every_schedule(law, schedule):
    level = drawn(schedule, count=500, times=law, std=5.0)
    assert bool((torch.as_tensor(level.sigma) > 0).all())
    ratio = torch.as_tensor(level.ratio)
    assert bool((ratio <= schedule.noisiest.ratio * (1 + 1e-9)).all())
    assert bool((ratio >= schedule.cleanest.ratio * (1 - 1e-9)).all())
