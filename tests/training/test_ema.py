import pytest
import torch

from unnoise.training.ema import MovingAverage, decay_at


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
    assert decay_at(1, 0.999, warmup=True) == 2 / 11
    assert decay_at(10**6, 0.999, warmup=True) == 0.999
    assert decay_at(1, 0.999, warmup=False) == 0.999
    average = MovingAverage({"w": torch.zeros(1)}, 0.999, warmup=True)
    average.update({"w": torch.ones(1)})
    assert average.average["w"].item() == pytest.approx(9 / 11, abs=1e-6)


def test_whole_numbers_are_copied_and_the_start_is_not_shared():
    live = {"w": torch.ones(2), "steps": torch.tensor(3)}
    average = MovingAverage(live, 0.5)
    live["w"].mul_(3)
    live["steps"].add_(1)
    assert average.average["w"].tolist() == [1.0, 1.0]
    average.update(live)
    assert average.average["w"].tolist() == [2.0, 2.0]
    assert average.average["steps"].item() == 4
