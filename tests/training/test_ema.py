import math

import pytest
import torch
from safetensors import safe_open

from unnoise.errors import CheckpointError, InputError
from unnoise.training import profiles
from unnoise.training.ema import MovingAverage, PowerAverage, deviation_of, power_of


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("decay", "updates"), [(0.9999, 2000), (0.99, 100)])
def test_average_of_a_jump_follows_its_closed_form_in_every_dtype(dtype, decay, updates):
    """From 1 to a constant 2: 2 - decay^n. float32 rounding over 2,000 updates stays below 1e-4."""
    average = MovingAverage({"w": torch.ones(4, dtype=dtype)}, decay)
    for _ in range(updates):
        average.update({"w": torch.full((4,), 2.0, dtype=dtype)})
    assert average.average["w"].dtype == torch.float32
    assert average.average["w"].tolist() == pytest.approx([2 - decay**updates] * 4, abs=1e-4)


def test_warm_up_is_the_documented_rule():
    average, cold = (MovingAverage({"w": torch.zeros(1)}, 0.999, warmup) for warmup in (True, False))
    for each in (average, cold):
        each.update({"w": torch.ones(1)})
    assert average.average["w"].item() == pytest.approx(9 / 11, abs=1e-6)
    assert (average.next_decay(), cold.next_decay()) == (2 / 11, 0.999)
    average.updates = 10**6
    assert average.next_decay() == 0.999


def test_whole_numbers_are_copied_and_the_start_is_not_shared():
    live = {"w": torch.ones(2), "steps": torch.tensor(3)}
    average = MovingAverage(live, 0.5)
    live["w"].mul_(3)
    live["steps"].add_(1)
    assert average.average["w"].tolist() == [1.0, 1.0]
    average.update(live)
    assert average.average["w"].tolist() == [2.0, 2.0]
    assert average.average["steps"].item() == 4


def test_a_power_average_is_the_weighted_mean_that_its_name_says():
    """After n updates, the weights of update t count as the integral of t^gamma over (t - 1, t)."""
    average = PowerAverage({"w": torch.zeros(1)}, deviation=0.1)
    values = torch.randn(300, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for value in values:
        average.update({"w": value[None].float()})
    power, n = average.power, len(values)
    ends = torch.arange(n + 1, dtype=torch.float64) / n
    shares = ends.pow(power + 1).diff()
    assert float(average.average["w"]) == pytest.approx(float((shares * values).sum()), abs=1e-6)


@pytest.mark.parametrize(("deviation", "power"), [(0.05, 16.97), (0.10, 6.94)])
def test_the_two_published_profiles_have_the_published_powers(deviation, power):
    assert power_of(deviation) == pytest.approx(power, abs=5e-3)
    assert deviation_of(power_of(deviation)) == pytest.approx(deviation, rel=1e-9)


@pytest.mark.parametrize("deviation", [0.0, -1.0, 0.29, math.nan])
def test_a_profile_that_is_none_is_refused(deviation):
    with pytest.raises(InputError, match=r"for example 0\.1"):
        power_of(deviation)


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """A noisy walk of 2,000 updates, two profiles snapshot every 50, and directly tracked ones."""
    run = tmp_path_factory.mktemp("profiles")
    live = {"w": torch.zeros(64), "steps": torch.tensor(0)}
    kept = [PowerAverage(live, deviation) for deviation in (0.05, 0.10)]
    direct = {deviation: PowerAverage(live, deviation) for deviation in (0.06, 0.08, 0.12, 0.15)}
    draw = torch.Generator().manual_seed(0)
    for update in range(1, 2001):
        live["w"] = live["w"] + 0.05 * torch.randn(64, generator=draw)
        live["steps"] += 1
        for average in (*kept, *direct.values()):
            average.update(live)
        if update % 50 == 0:
            profiles.write(run, update, kept, [average.average for average in kept])
    return run, direct, live


@pytest.mark.parametrize("deviation", [0.06, 0.08, 0.12, 0.15])
def test_any_profile_is_made_afterwards_from_snapshots_of_two(walked, deviation):
    """Within 1e-3 of the one that was tracked all along, relative to its size."""
    run, direct, live = walked
    found = profiles.reconstruct(run / "profiles", deviation)
    true = direct[deviation].average["w"]
    assert float((found["w"] - true).norm() / true.norm()) < 1e-3
    assert found["steps"].item() == 2000
    assert float((live["w"] - true).norm() / true.norm()) > 0.05  # the profiles differ far more than that


def test_a_profile_of_an_earlier_moment_uses_what_was_there_by_then(walked):
    run, _, _ = walked
    with safe_open(run / "profiles" / "step-001000.safetensors", "pt") as opened:
        kept = opened.get_tensor("1.w")
    found = profiles.reconstruct(run / "profiles", 0.10, updates=1000)["w"]
    assert torch.allclose(found, kept, rtol=0, atol=1e-5)


def test_shares_of_profiles_sum_to_one():
    have = [(100 * k, power) for k in range(1, 9) for power in (16.97, 6.94)]
    assert float(profiles.combination(have, (800, 10.0)).sum()) == pytest.approx(1.0, abs=1e-12)


def test_without_snapshots_the_way_on_is_told(tmp_path):
    with pytest.raises(CheckpointError, match=r"optimizer\.profile_every"):
        profiles.reconstruct(tmp_path, 0.1)
    (tmp_path / "step-000001.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="not a snapshot"):
        profiles.reconstruct(tmp_path, 0.1)
