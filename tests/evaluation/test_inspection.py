"""A run opened step by step."""

import json
import math

import pytest
import torch

from tiny_model import tiny_model
from unnoise.evaluation import inspect_run, write_inspection
from unnoise.pipelines import TextToImage


def test_each_step_is_told_with_its_gaussian_and_its_cost(pipe):
    seen = inspect_run(pipe, "a seven", seed=3, steps=5, scheduler="DDPM", guidance=2.0)
    assert len(seen.steps) == 5
    schedule = pipe.model.schedule
    for step in seen.steps:
        x = step.start.alpha * step.x0 + step.start.sigma * step.noise
        assert torch.allclose(x, step.x, atol=1e-5)
    for step in seen.steps[:-1]:
        assert step.kl is not None
        assert step.kl >= 0.0
    assert seen.steps[0].start == schedule.noisiest
    assert seen.steps[0].x0_change is None
    assert seen.steps[-1].kl is None
    assert torch.allclose(seen.picture, seen.steps[-1].posterior.mean, atol=1e-5)


def test_a_step_with_the_posterior_s_noise_lands_where_its_gaussian_says(pipe):
    """DDPM's step is a draw from the posterior: its distance from the mean has the posterior's deviation."""
    seen = inspect_run(pipe, "a seven", seed=3, steps=8, scheduler="DDPM")
    for step, after in zip(seen.steps[:-1], seen.steps[1:], strict=True):
        drawn = (after.x - step.posterior.mean).square().mean().sqrt()
        assert float(drawn) == pytest.approx(math.sqrt(float(step.posterior.variance)), rel=0.4)


def test_the_page_and_its_numbers(pipe, tmp_path):
    seen = inspect_run(pipe, "<b>", seed=0, steps=3)
    page = write_inspection(seen, tmp_path / "run.html").read_text()
    assert "“&lt;b&gt;”" in page
    assert page.count("<img") == 1 + 3 * 5
    told = json.loads((tmp_path / "run.json").read_text())
    assert [row["index"] for row in told["steps"]] == [0, 1, 2]
    assert told["steps"][0]["log_snr"] is None  # no signal: minus infinity has no place in JSON
    assert "srcdoc" in seen._repr_html_()


def test_a_learned_variance_is_shown_with_its_spread(tmp_path):
    pipe = TextToImage(tiny_model(variance="learned_range"))
    seen = inspect_run(pipe, "a seven", seed=0, steps=4, scheduler="DDPM")
    assert seen.steps[1].posterior.variance.shape == (1, 8, 8)
    assert " to " in write_inspection(seen, f"{tmp_path}/run.html").read_text()
