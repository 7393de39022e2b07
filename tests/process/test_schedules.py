import json
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from closed_forms import SCHEDULES
from unnoise.errors import InputError
from unnoise.process import EDM, Cosine, DiscreteVP, Flow, schedule_from_config

schedules = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


@schedules
def test_time_to_level_to_time_is_the_identity_over_the_whole_range(schedule):
    times = torch.linspace(schedule.clean_time, schedule.noisiest.time, 4001, dtype=torch.float64)
    levels = schedule.level(times)
    back = schedule.at_log_snr(levels.log_snr)
    scale = float(schedule.noisiest.time) - schedule.clean_time
    assert (back.time - times).abs().max() < 1e-12 * scale
    assert (back.alpha - levels.alpha).abs().max() < 1e-14
    assert (back.sigma - levels.sigma).abs().max() < 1e-14 * max(1.0, float(levels.sigma.max()))


@schedules
def test_noise_grows_with_time(schedule):
    times = torch.linspace(schedule.clean_time, schedule.noisiest.time, 2001, dtype=torch.float64)
    log_snr = schedule.level(times).log_snr
    assert (log_snr[1:] < log_snr[:-1]).all()


@schedules
def test_the_clean_end_is_an_ordinary_level(schedule):
    clean = schedule.level(schedule.clean_time)
    assert (clean.alpha, clean.sigma) == (1.0, 0.0)
    assert clean.log_snr == math.inf
    assert schedule.at_log_snr(math.inf).time == schedule.clean_time


@schedules
def test_one_number_and_a_batch_of_numbers_agree(schedule):
    time = float(schedule.noisiest.time) * 0.37
    one, many = schedule.level(time), schedule.level(torch.tensor([time, time], dtype=torch.float64))
    assert isinstance(one.alpha, float)
    assert many.alpha.shape == (2,)
    assert many.sigma[1].item() == one.sigma
    assert torch.equal(schedule.level(np.array([time, time])).sigma, many.sigma)


@schedules
def test_a_schedule_survives_being_written_down(schedule):
    assert schedule_from_config(schedule.config()) == schedule


@pytest.mark.parametrize(
    ("schedule", "plain"),
    [
        (DiscreteVP.linear(np.float64(1e-4), Fraction(1, 50), np.int64(10)), DiscreteVP.linear(steps=10)),
        (DiscreteVP.linear(beta_end=torch.tensor(0.02, dtype=torch.float64)), DiscreteVP.linear()),
        (Cosine(start=np.array(0.25)), Cosine(start=0.25)),
        (EDM(np.float32(0.5), Decimal(80)), EDM(0.5, 80.0)),
        (Flow(shift=np.int32(3)), Flow(shift=3.0)),
    ],
)
def test_numbers_of_other_kinds_make_the_same_schedule_and_the_same_file(schedule, plain):
    assert schedule == plain
    assert hash(schedule) == hash(plain)
    assert json.dumps(schedule.config()) == json.dumps(plain.config())


def test_a_written_schedule_that_cannot_be_is_refused_as_the_same_schedule_in_python_is():
    with pytest.raises(InputError, match=r"^shift is -1.0; give a number above 0"):
        schedule_from_config({"kind": "flow", "shift": -1.0})


@pytest.mark.parametrize(
    ("config", "has"),
    [
        ({"kind": "cosine"}, "offset, start, end"),
        ({"kind": "edm"}, "sigma_min, sigma_max"),
        ({"kind": "discrete_vp"}, "beta_start, beta_end, steps, zero_terminal"),
        ({"kind": "discrete_vp", "curve": "table", "table": [0.1]}, "table, steps, zero_terminal"),
    ],
)
@pytest.mark.parametrize("key", ["shiftt", 3, None])
def test_a_setting_that_a_schedule_does_not_have_is_told_with_those_that_it_has(config, has, key):
    with pytest.raises(InputError) as caught:
        schedule_from_config({**config, key: 1})
    assert f"has no {key!r}; it has {has}." in str(caught.value)


@pytest.mark.parametrize("schedule", [EDM(1, 80), Flow(shift=3, end=1), Cosine(end=1)])
def test_ends_given_as_whole_numbers_are_levels_of_floats(schedule):
    for level in (schedule.noisiest, schedule.cleanest):
        assert all(isinstance(part, float) for part in (level.time, level.alpha, level.sigma))


@schedules
def test_times_outside_the_range_are_refused_with_the_range(schedule):
    for time in (schedule.clean_time - 0.5, float(schedule.noisiest.time) + 0.5, math.nan):
        with pytest.raises(InputError, match="runs from"):
            schedule.level(time)


@given(st.floats(0.1, 1.0))
def test_an_end_that_float32_has_rounded_is_still_the_end(end):
    for schedule in (Flow(end=end), Cosine(end=end), EDM(sigma_max=80.0 * end)):
        rounded = schedule.level(torch.tensor([schedule.noisiest.time], dtype=torch.float32))
        assert rounded.time.item() <= schedule.noisiest.time
        assert rounded.sigma.item() == pytest.approx(schedule.noisiest.sigma, rel=1e-6)


@schedules
def test_beyond_the_noisiest_level_the_time_is_its_time(schedule):
    if schedule.noisiest.alpha == 0.0:
        return
    beyond = schedule.at_ratio(10.0 * schedule.noisiest.ratio)
    assert beyond.time == schedule.noisiest.time
    assert beyond.ratio == pytest.approx(10.0 * schedule.noisiest.ratio)


@pytest.mark.parametrize("name", ["cosine", "cosine_offset", "flow", "flow_shifted", "zero_terminal"])
def test_schedules_that_end_without_signal_do_so_exactly(name):
    noisiest = SCHEDULES[name].noisiest
    assert (noisiest.alpha, noisiest.sigma, noisiest.log_snr) == (0.0, 1.0, -math.inf)
    back = SCHEDULES[name].at_log_snr(-math.inf)
    assert (back.time, back.alpha) == (noisiest.time, 0.0)


@pytest.mark.parametrize(
    "name", ["linear", "scaled_linear", "cosine_betas", "sigmoid", "cosine", "zero_terminal"]
)
def test_variance_is_preserved(name):
    schedule = SCHEDULES[name]
    level = schedule.level(
        torch.linspace(schedule.clean_time, schedule.noisiest.time, 777, dtype=torch.float64)
    )
    assert (level.alpha**2 + level.sigma**2 - 1.0).abs().max() < 1e-14


@pytest.mark.parametrize("schedule", [DiscreteVP.scaled_linear(), DiscreteVP.cosine().zero_terminal_snr()])
def test_levels_that_are_looked_up_are_those_of_their_times(schedule):
    steps = torch.tensor([0, 999, 500, 0])
    found, computed = schedule.at_step(steps), schedule.level(steps.double())
    assert torch.equal(found.time, computed.time)
    torch.testing.assert_close(found.alpha, computed.alpha, rtol=1e-15, atol=0)
    torch.testing.assert_close(found.sigma, computed.sigma, rtol=1e-15, atol=0)


def test_a_table_is_the_product_of_its_steps():
    schedule = DiscreteVP.linear()
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    level = schedule.level(torch.arange(1000, dtype=torch.float64))
    assert (level.alpha**2 - torch.cumprod(1.0 - betas, 0)).abs().max() < 1e-14


def test_the_first_step_keeps_its_digits():
    # 1 - cumprod would leave 12 of 16 digits of a variance of 1e-4.
    level = DiscreteVP.linear().level(0.0)
    assert level.sigma**2 == pytest.approx(1e-4, rel=1e-15)


def test_a_terminal_snr_of_zero_keeps_the_first_level():
    plain, rescaled = DiscreteVP.scaled_linear(), DiscreteVP.scaled_linear().zero_terminal_snr()
    assert rescaled.cleanest.alpha == pytest.approx(plain.cleanest.alpha, abs=1e-15)
    assert rescaled.betas[-1] == 1.0


def test_a_shifted_flow_multiplies_the_ratio():
    plain, shifted = Flow(), Flow(shift=3.0)
    for time in (0.1, 0.5, 0.9):
        assert shifted.level(time).ratio == pytest.approx(3.0 * plain.level(time).ratio, rel=1e-14)


def test_what_the_network_is_told():
    assert DiscreteVP.linear().network_time(DiscreteVP.linear().level(17.0)) == 17.0
    assert EDM().network_time(EDM().level(math.e**4)) == pytest.approx(1.0)
    assert Flow(shift=3.0).network_time(Flow(shift=3.0).level(0.5)) == pytest.approx(0.75)


@given(st.floats(-60.0, 60.0))
def test_any_finite_log_snr_is_met_exactly(log_snr):
    for schedule in (DiscreteVP.linear(), Cosine(), Flow()):
        assert schedule.at_log_snr(log_snr).log_snr == pytest.approx(log_snr, abs=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DiscreteVP.linear(steps=0),
        lambda: DiscreteVP.linear(beta_end=1.5),
        lambda: DiscreteVP.linear(beta_start=math.nan),
        lambda: DiscreteVP.from_betas((0.1, -0.1)),
        lambda: Cosine(offset=-1.0),
        lambda: Cosine(start=0.0),
        lambda: EDM(sigma_min=2.0, sigma_max=1.0),
        lambda: EDM(sigma_max=math.inf),
        lambda: Flow(shift=0.0),
        lambda: Flow(end=1.5),
        lambda: EDM().at_log_snr(-math.inf),
        lambda: Flow().at_log_snr(math.nan),
        lambda: Flow().at_ratio(-1.0),
        lambda: schedule_from_config({"kind": "os.system"}),
        lambda: schedule_from_config({"kind": "flow", "shiftt": 3.0}),
        lambda: schedule_from_config({"kind": "flow", 3: 3.0}),
        lambda: schedule_from_config({"kind": "discrete_vp", "curve": "table", "table": ["a"]}),
        lambda: schedule_from_config({"kind": "discrete_vp", "curve": "table", "table": [10**400]}),
        lambda: schedule_from_config({"kind": "discrete_vp", "curve": "round"}),
        lambda: schedule_from_config({"kind": "discrete_vp", "curve": "table"}),
        lambda: schedule_from_config({"kind": "discrete_vp", "curve": "table", "table": [0.1], "steps": 2}),
        lambda: schedule_from_config({"kind": "discrete_vp", "curve": "table", "table": ["x"]}),
        lambda: schedule_from_config({"kind": "discrete_vp", "table": [0.1, 0.2]}),
        lambda: schedule_from_config({"kind": "discrete_vp", "zero_terminal": "no"}),
        lambda: schedule_from_config({"kind": "discrete_vp", "steps": 1000.0}),
        lambda: schedule_from_config({"kind": "discrete_vp", "beta_end": "0.02"}),
        lambda: DiscreteVP("lineal", 10, 1e-4, 0.02),
        lambda: DiscreteVP("table", 5, table=(0.1,)),
        lambda: DiscreteVP.linear(steps=True),
        lambda: DiscreteVP.cosine(steps=10**400),
        lambda: DiscreteVP.linear(beta_end="0.02"),
        lambda: DiscreteVP.linear(beta_end=torch.tensor([0.01, 0.02])),
        lambda: EDM(sigma_max=10**400),
        lambda: Flow(shift=True),
        lambda: Flow().level("0.5"),
        lambda: Flow().at_ratio(10**400),
    ],
)
def test_values_out_of_range_are_refused(make):
    with pytest.raises(InputError) as caught:
        make()
    assert "\n" not in str(caught.value)
