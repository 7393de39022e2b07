"""Schedulers compared: on data whose answer is known, and on a whole model."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from closed_forms import GAUSSIAN
from unnoise import evaluation
from unnoise.errors import InputError
from unnoise.evaluation import compare, write_comparison
from unnoise.evaluation.report.comparison import comparison_page
from unnoise.evaluation.similarity import relative_error, structural_similarity
from unnoise.process import Cosine
from unnoise.randomness import NoiseSource
from unnoise.schedulers import names


class Exact:
    """A pipeline whose pictures are Gaussian numbers, drawn by the exact denoiser; it counts its runs."""

    def __init__(self, weights="a hash"):
        parts = dict.fromkeys(("adapters", "taught", "companions"), ())
        meant = {"prediction": "sample", "clip": None, "engine": "torch"}
        self.model = SimpleNamespace(
            schedule=Cosine(end=0.999), shape=(1, 8, 8), name="exact", clip_skip=0, **parts, **meant
        )
        self.model.network = SimpleNamespace(dtype=torch.float32)
        self.model.fingerprint = lambda: weights
        self.runs = []

    def denoise(self, prompts, *, seeds, steps, scheduler, guidance):
        self.runs.append((scheduler, steps, tuple(seeds)))
        source = NoiseSource(tuple(seeds))
        plan = names.get(scheduler).plan(self.model.schedule, steps)
        x = source("start", like=torch.zeros(len(seeds), *self.model.shape))
        return plan.run(lambda x, level: GAUSSIAN.denoise(x, level).to(x.dtype), plan.initial(x), source)


@pytest.fixture(scope="module")
def report():
    return compare(Exact(), "", schedulers=("DDIM", "DPM++ 2M", "DDPM"), steps=(5, 10, 40), count=8)


def test_the_solution_is_the_exact_transport(report):
    """Gaussian data carry noise to 0.3 + 0.5 noise."""
    noise = NoiseSource(report.seeds)("start", like=torch.zeros(8, 1, 8, 8))
    assert report.reference_gap < 1e-3
    assert relative_error(report.converged, 0.3 + 0.5 * noise) < 5e-3


def test_more_steps_come_nearer_and_the_better_order_is_nearer(report):
    error = {(cell.scheduler, cell.steps): cell.error for cell in report.cells}
    assert error["DDIM", 40] < error["DDIM", 10] < error["DDIM", 5]
    assert error["DPM++ 2M", 40] < error["DDIM", 40]


def test_what_draws_noise_has_no_distance_to_a_solution(report):
    for cell in report.cells:
        assert cell.stochastic == (cell.scheduler == "DDPM")
        assert (cell.error is None) == cell.stochastic
        assert cell.quality.low <= cell.quality.value <= cell.quality.high
    assert "DDPM" not in report.fewest


def test_the_front_holds_what_nothing_beats(report):
    front = [cell for cell in report.cells if cell.on_front]
    assert front
    for cell in front:
        assert not any(
            other.error is not None and other.calls <= cell.calls and other.error < cell.error
            for other in report.cells
        )


def test_the_sentence_names_the_fewest_calls_that_look_converged(report):
    alike = [cell for cell in report.cells if (cell.similarity or 0) >= 0.95]
    assert report.best.calls == min(cell.calls for cell in alike)
    assert report.sentence.startswith(f"Use {report.best.scheduler} with {report.best.steps} steps")


def test_the_error_of_a_cell_is_that_of_its_pictures_together(report):
    size = report.converged.double().square().flatten(1).mean(1)
    for cell in report.cells:
        if cell.error is not None:
            squares = torch.tensor(cell.errors, dtype=torch.float64).square() * size
            assert float((squares.mean() / size.mean()).sqrt()) == pytest.approx(cell.error, rel=1e-9)


@pytest.mark.parametrize(
    ("apart", "told"),
    [
        ((0.02, -0.02, 0.03, -0.01, 0.02, -0.03, 0.01, 0.0), True),  # now the one is nearer, now the other
        ((0.02, 0.02, 0.03, 0.01, 0.02, 0.03, 0.01, 0.02), False),
        ((0.0,) * 8, True),
    ],
)
def test_what_chance_may_have_put_first_is_no_winner(report, apart, told):
    """Noise is shared, so errors are compared picture by picture."""
    best = replace(report.best, scheduler="best", error=0.1, errors=(0.1,) * 8)
    other = replace(best, scheduler="other", error=0.101, errors=tuple(0.1 + each for each in apart))
    slower = replace(best, scheduler="slower", calls=best.calls + 1)
    found = replace(report, cells=(slower, other, best))
    assert found.best is best
    assert found.ties == ((other,) if told else ())
    assert ("do not tell it from other (5 steps)" in found.sentence) == told
    assert "slower" not in found.sentence


def test_where_all_draw_noise_intervals_that_meet_are_told(report):
    cells = [cell for cell in report.cells if cell.stochastic]
    far = [
        replace(cell, quality=evaluation.Interval(value, value - 0.1, value + 0.1))
        for cell, value in zip(cells, (0.0, 0.15, 0.5), strict=True)
    ]
    found = replace(report, cells=tuple(far))
    assert found.ties == (far[1],)
    assert "do not tell it from DDPM (10 steps)" in found.sentence


def test_a_second_comparison_makes_no_run_again_and_finds_the_same(tmp_path):
    def ask(pipe):
        return compare(pipe, "", schedulers="DDIM", steps=(3, 5), count=4, cache=tmp_path)

    first, again, told = Exact(), Exact(), []
    one = ask(first)
    kept = sorted(tmp_path.iterdir())
    kept[0].write_bytes(kept[0].read_bytes()[:-30])
    two = compare(
        again,
        "",
        schedulers=("DDIM",),
        steps=(3, 5),
        count=4,
        cache=str(tmp_path),
        told=lambda *words: told.append(words),
    )
    assert len(first.runs) == len(kept)
    assert len(again.runs) == 1
    assert [cell.error for cell in one.cells] == [cell.error for cell in two.cells]
    assert told[-1][1] == told[-1][2] or told[-1][1] > 2


def test_the_pictures_to_compare_with_are_made_as_many_at_once_as_a_cell_has_and_ask_for_all_alike():
    pipe, prompts = Exact(), ("a", "b", "c")
    asked, denoise = [], pipe.denoise
    pipe.denoise = lambda texts, **more: asked.append(texts) or denoise(texts, **more)
    compare(pipe, prompts, schedulers="DDIM", steps=(3,), count=8)
    made = [(texts, run) for texts, run in zip(asked, pipe.runs, strict=True) if run[2][0] >= 1_000_000]
    assert {len(texts) for texts, _ in made} == {6}
    texts, seeds = (
        [one for part in parts for one in part]
        for parts in zip(*((a, run[2]) for a, run in made), strict=True)
    )
    assert seeds == list(range(1_000_000, 1_000_066))
    assert [texts.count(each) for each in prompts] == [22] * 3


def test_prompts_that_no_picture_asks_for_are_asked_of_none():
    pipe, asked = Exact(), set()
    denoise = pipe.denoise
    pipe.denoise = lambda texts, **more: asked.update(texts) or denoise(texts, **more)
    found = compare(pipe, tuple("abcdef"), schedulers="DDIM", steps=(3,), count=4)
    assert asked == {*found.prompts} == {*"abcd"}


def test_runs_are_kept_for_a_model_whose_weights_are_known_and_for_no_other(tmp_path):
    def kept(pipe):
        compare(pipe, "", schedulers="DDIM", steps=(3,), count=4, cache=tmp_path)
        return len(list(tmp_path.iterdir()))

    assert kept(Exact("")) == 0
    each = kept(Exact("one"))
    assert each > 0
    assert kept(Exact("one")) == each
    assert kept(Exact("two")) == 2 * each
    adapted, larger = Exact("one"), Exact("one")
    adapted.model.adapters = (SimpleNamespace(told="ink:1:0123456789"),)
    larger.model.shape = (1, 8, 16)
    assert kept(adapted) == 3 * each
    assert kept(larger) == 4 * each
    narrow, other = Exact("one"), Exact("one")
    narrow.model.network.dtype = torch.bfloat16
    other.model.prediction = "velocity"
    assert kept(narrow) == 5 * each
    assert kept(other) == 6 * each


def test_latents_are_shown_by_their_first_channel(tmp_path):
    pipe = Exact()
    pipe.model.shape = (4, 8, 8)
    found = compare(pipe, "", schedulers=("DDIM",), steps=(3,), count=4)
    write_comparison(found, tmp_path)
    for path in (tmp_path / "pictures").iterdir():
        with Image.open(path) as sheet:
            assert sheet.mode == "L"


def test_held_out_pictures_are_what_quality_is_measured_against():
    noise = torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(9))
    found = compare(
        Exact(), "", schedulers=("DDIM",), steps=(20,), count=40, real=(0.3 + 0.5 * noise).clamp(-1, 1)
    )
    (cell,) = found.cells
    assert cell.quality.low < 0.0 < cell.quality.high
    off = compare(
        Exact(), "", schedulers=("DDIM",), steps=(20,), count=40, real=(-0.7 + 0.1 * noise).clamp(-1, 1)
    )
    assert off.cells[0].quality.low > 0.5
    assert found.against == "40 held-out pictures"


def test_quality_is_the_kernel_distance_of_features_where_they_are_given():
    """Half of the cells' pictures moved: the distance of a feature that sees it, and of one that does not."""
    noise = torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(9))
    asked = {"schedulers": ("DDIM",), "steps": (20,), "count": 40, "real": (0.3 + 0.5 * noise).clamp(-1, 1)}

    def halves(pixels):
        assert pixels.dtype == torch.uint8
        return (
            np.stack([pixels[..., :4].double().mean((1, 2, 3)), pixels[..., 4:].double().mean((1, 2, 3))], 1)
            / 255
        )

    found = compare(Exact(), "", features=halves, named="halves", **asked)
    made = halves(((found.pictures["DDIM", 20].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8))
    goal = halves(((asked["real"] + 1) * 127.5).round().to(torch.uint8))
    assert found.measure == "kernel distance (KID) of halves"
    assert found.cells[0].quality.value == pytest.approx(evaluation.kernel(made, goal), rel=1e-12)
    assert "kernel distance (KID) of halves, to 40 held-out" in found.to_dict()["quality"]
    latents = Exact()
    latents.model.shape = (4, 8, 8)
    with pytest.raises(InputError, match="latents of 4 channels, which halves cannot look at"):
        compare(latents, "", features=halves, named="halves", schedulers=("DDIM",))


def test_the_page_is_whole_and_fetches_nothing(pipe, tmp_path):
    asked = {"schedulers": ("Euler", "Euler a"), "steps": (2, 4), "count": 4, "real": torch.zeros(8, 1, 8, 8)}
    found = compare(pipe, ("a seven", "two & <three>"), **asked)
    page = write_comparison(found, str(tmp_path)).read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    assert page.count("<svg") == 2
    assert "two &amp; &lt;three&gt;" in page
    told = json.loads((tmp_path / "report.json").read_text())
    assert len(told["cells"]) == 4
    heun = compare(pipe, "", schedulers=("Heun",), steps=5, count=4, real=torch.zeros(8, 1, 8, 8))
    steps, calls = heun.fewest["Heun"], heun.cells[0].calls
    chip = "none tried" if steps is None else f"5 ({calls} calls)"
    assert f"Heun <b>{chip}</b>" in comparison_page(heun)
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        "converged.png", "euler-002.png", "euler-004.png", "euler-a-002.png", "euler-a-004.png"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": (0,)}, "steps is 0"),
        ({"steps": ()}, "at least one prompt"),
        ({"count": 2}, "count is 2"),
        ({"schedulers": ("DPM+ 2M",)}, "the nearest are"),
        ({"schedulers": ("DDIM", "DPM adaptive")}, "DPM adaptive fits its steps to one picture"),
        ({"real": torch.zeros(20, 3, 8, 8)}, "the real pictures are .3, 8, 8."),
        ({"real": torch.zeros(3, 1, 8, 8)}, "3 real pictures are too few"),
        ({"real": [Image.new("L", (8, 8))] * 8}, "real is .*; give a Tensor"),
        ({"steps": 0}, "steps is 0"),
        (
            {"real": torch.full((20, 1, 8, 8), 255.0)},
            "run from 255 to 255; give uint8, or floats from -1 to 1",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_run(options, words):
    pipe = Exact()
    with pytest.raises(InputError, match=words):
        compare(pipe, "", **options)
    assert pipe.runs == []


def test_similarity_is_one_only_for_equal_pictures():
    x = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.allclose(structural_similarity(x, x), torch.ones(3, dtype=torch.float64))
    assert float(structural_similarity(x, -x).max()) < 0.0


def test_similarity_is_the_published_formula():
    x, y = (np.random.default_rng(seed).random((9, 9)) for seed in (0, 1))
    values = []
    for top in range(3):
        for left in range(3):
            a, b = (part[top : top + 7, left : left + 7] for part in (x, y))
            cov = np.cov(a.ravel(), b.ravel())
            m, n = a.mean(), b.mean()
            values.append(
                (2 * m * n + 1e-4) * (2 * cov[0, 1] + 9e-4)
                / ((m * m + n * n + 1e-4) * (cov[0, 0] + cov[1, 1] + 9e-4))
            )  # fmt: skip
    found = structural_similarity(*(torch.from_numpy(part)[None, None] * 2 - 1 for part in (x, y)))
    assert float(found) == pytest.approx(np.mean(values), rel=1e-9)


def test_tuning_for_no_prompts_is_refused(pipe):
    with pytest.raises(InputError, match="prompts is empty; give at least one"):
        next(evaluation.tune(pipe, ()))
