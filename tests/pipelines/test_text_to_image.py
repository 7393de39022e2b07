import gc
import inspect
import itertools
import math
import threading
import weakref
from fractions import Fraction

import numpy as np
import pytest
import torch

import unnoise
from latent_model import latent_model
from tiny_model import tiny_model
from unnoise import images
from unnoise.errors import InputError, NonFiniteError
from unnoise.pipelines import (
    Condition,
    FeatureCache,
    Guided,
    Interval,
    Projected,
    Recipe,
    Rescaled,
    Scale,
    TextToImage,
)
from unnoise.pipelines.combining import from_text, to_text
from unnoise.process import DiscreteVP, Estimate
from unnoise.randomness import NoiseSource, normal
from unnoise.schedulers import Scheduler, grids, names, noise, solvers

CLOSE = 1e-4  # float32: another batch size or thread count orders the same sums differently


def apart(a, b):
    return float(np.abs(np.asarray(a) - np.asarray(b)).max())


def test_a_call_gives_pictures_arrays_and_recipes(pipe):
    made = pipe("a seven", seed=7, count=2)
    assert [picture.size for picture in made.images] == [(8, 8)] * 2
    assert made.arrays[0].shape == (8, 8, 1)
    assert 0.0 <= made.arrays[0].min() <= made.arrays[0].max() <= 1.0
    assert [recipe.seed for recipe in made.recipes] == [7, 8]
    assert made.recipes[0].scheduler == "DPM++ 2M"
    assert made.recipes[0].version == unnoise.__version__


def test_one_seed_is_one_picture_and_prompts_and_seeds_matter(pipe):
    first = pipe("a seven", seed=7).arrays[0]
    assert np.array_equal(first, pipe("a seven", seed=7).arrays[0])
    assert apart(first, pipe("a seven", seed=8).arrays[0]) > 0.01
    assert apart(first, pipe("a red apple", seed=7).arrays[0]) > 0.001
    assert apart(first, pipe("a seven", seed=7, negative="a red apple").arrays[0]) > 0.001


@pytest.mark.parametrize("name", [row.name for row in names.table() if row.name != "DPM adaptive"])
def test_the_third_of_four_equals_the_same_seed_alone(pipe, name):
    four = pipe("a seven", seed=7, count=4, scheduler=name).arrays
    alone = pipe("a seven", seed=9, scheduler=name).arrays
    assert apart(four[2], alone[0]) <= CLOSE


def test_adaptive_steps_are_made_for_one_picture_alone(pipe):
    steps = list(pipe.denoise("a seven", seed=9, scheduler="DPM adaptive", steps=5))
    assert [step.index for step in steps] == list(range(5))
    with pytest.raises(InputError, match=r"2 are given; make one at a time \(count 1\)"):
        pipe.denoise("a seven", count=2, scheduler="dpm_adaptive")


def test_the_noise_itself_does_not_know_the_batch():
    like = torch.empty(4, 1, 8, 8)
    four = NoiseSource((7, 8, 9, 10))("start", like=like)
    assert torch.equal(four[2], normal(9, "start", shape=(1, 8, 8)))


@pytest.mark.parametrize("name", ["DPM++ 2M", "Euler a"])
def test_one_and_four_and_sixteen_at_a_time_in_any_order_are_the_same_pictures(pipe, name):
    seeds = list(range(40, 56))
    ask = {"steps": 4, "scheduler": name}
    alone = {seed: pipe("a seven", seed=seed, **ask).arrays[0] for seed in seeds}
    mixed = torch.randperm(16, generator=torch.Generator().manual_seed(0)).tolist()
    for size in (4, 16):
        order = [seeds[place] for place in mixed] if size == 4 else seeds[::-1]
        for begin in range(0, 16, size):
            some = order[begin : begin + size]
            starts = NoiseSource(tuple(some))("start", like=torch.empty(size, 1, 8, 8))
            assert all(
                torch.equal(starts[row], normal(seed, "start", shape=(1, 8, 8)))
                for row, seed in enumerate(some)
            )
            made = pipe("a seven", seeds=some, count=size, **ask)
            assert [recipe.seed for recipe in made.recipes] == some
            for seed, picture in zip(some, made.arrays, strict=True):
                assert apart(picture, alone[seed]) <= CLOSE


def test_other_prompts_in_a_batch_change_nothing(pipe):
    both = pipe(["a seven", "a red apple"], seeds=[3, 4])
    assert apart(both.arrays[1], pipe("a red apple", seed=4).arrays[0]) <= CLOSE
    assert [recipe.prompt for recipe in both.recipes] == ["a seven", "a red apple"]


def test_count_makes_pictures_of_each_prompt_in_turn(pipe):
    made = pipe(["a seven", "a red apple"], negative=["", "two"], seed=1, count=2)
    assert [(r.prompt, r.negative, r.seed) for r in made.recipes] == [
        ("a seven", "", 1),
        ("a seven", "", 2),
        ("a red apple", "two", 3),
        ("a red apple", "two", 4),
    ]


def test_one_thread_or_two_make_the_same_picture(pipe):
    before = torch.get_num_threads()
    try:
        made = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            made.append(pipe("a seven", seed=7, steps=2).arrays[0])
    finally:
        torch.set_num_threads(before)
    assert apart(*made) <= CLOSE


SIXTEEN = (
    "DDPM", "DDIM", "PLMS", "LMS", "Euler", "Euler a", "Heun", "DPM2", "DPM2 a", "DPM++ 2M", "DPM++ 2M SDE",
    "DPM++ SDE", "DEIS", "UniPC", "LCM", "TCD",
)  # fmt: skip
"""Of every family: with and without a memory of earlier steps, noise, and stages."""


@pytest.mark.parametrize("name", SIXTEEN)
def test_two_threads_share_a_pipeline_and_agree_with_one_after_the_other(pipe, name):
    asked = [("a seven", 7, 6), ("a red apple", 11, 9)]
    alone = [pipe(prompt, seed=seed, steps=steps, scheduler=name).arrays[0] for prompt, seed, steps in asked]
    together: dict[int, list] = {0: [], 1: []}
    gate = threading.Barrier(2)

    def work(place):
        prompt, seed, steps = asked[place]
        gate.wait()
        for _ in range(3):
            together[place].append(pipe(prompt, seed=seed, steps=steps, scheduler=name).arrays[0])

    threads = [threading.Thread(target=work, args=(place,)) for place in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for place in (0, 1):
        assert len(together[place]) == 3
        assert all(apart(made, alone[place]) <= 1e-6 for made in together[place])


def test_two_interleaved_runs_agree_with_two_in_turn(pipe):
    ask = {"steps": 5, "scheduler": "LMS"}
    first, second = (pipe("a seven", seed=seed, **ask).arrays[0] for seed in (1, 2))
    runs = [pipe.denoise("a seven", seed=seed, **ask) for seed in (1, 2)]
    for _ in zip(*runs, strict=True):
        pass
    assert np.array_equal(runs[0].result().arrays[0], first)
    assert np.array_equal(runs[1].result().arrays[0], second)


def test_the_steps_can_be_seen_one_by_one(pipe):
    run = pipe.denoise("a seven", steps=4, seed=7)
    assert len(run) == 4
    steps = list(run)
    assert [step.index for step in steps] == [0, 1, 2, 3]
    assert [step.level.sigma for step in steps] == sorted((step.level.sigma for step in steps), reverse=True)
    assert steps[-1].level.sigma == 0.0
    for step in steps:
        assert step.preview().size == (8, 8)
        assert step.x.shape == step.x0.shape == step.noise.shape == (1, 1, 8, 8)
    assert np.array_equal(run.result().arrays[0], images.to_arrays(steps[-1].x)[0])


def test_a_batch_previews_as_one_sheet(pipe):
    step = next(pipe.denoise("a seven", count=4))
    assert step.preview().size == (18, 18)


def test_previews_show_the_clean_picture_the_sample_and_the_residual(pipe):
    before = None
    for step in (steps := list(pipe.denoise("a seven", steps=4, seed=7))):
        spread = math.hypot(step.start.alpha, step.start.sigma)
        sample = (step.start.alpha * step.x0 + step.start.sigma * step.noise) / spread
        assert before is None or torch.equal(
            step.estimate.x, before
        )  # what is seen is what the step before left
        assert step.preview() == step.preview("x0") == images.to_pil(step.x0)[0]
        assert step.preview("noise") == images.to_pil(step.noise)[0]
        shown = np.asarray(step.preview("sample")).astype(int)
        assert np.abs(shown - np.asarray(images.to_pil(sample)[0])).max() <= 1  # of 255: sums are rounded
        before = step.x
    first = steps[0]
    with pytest.raises(InputError, match="x0, sample, noise"):
        first.preview("residual")


@pytest.mark.parametrize("made", [1, 4], ids=["left unfinished", "finished"])
def test_a_run_that_is_let_go_frees_its_model_at_once(made):
    pipe = TextToImage(latent_model())
    gone = weakref.ref(pipe.model.network)
    gc.disable()  # what circles hold waits for the collector, and that may be long: models of gigabytes, on a GPU
    try:
        run = pipe.denoise("a seven", steps=4, seed=7)
        steps = [next(run) for _ in range(made)]
        steps[-1].preview()
        if made == 4:
            run.result()
        del pipe, run, steps
        assert gone() is None
    finally:
        gc.enable()


def test_the_callers_code_between_steps_can_still_differentiate(pipe):
    for step in pipe.denoise("a seven", steps=2):
        weight = torch.ones(1, requires_grad=True)
        (weight * 2).sum().backward()
        assert weight.grad is not None
        assert step.x.shape == (1, 1, 8, 8)


def test_guidance_is_linear_in_the_networks_output():
    model = tiny_model()
    x, time = normal(0, "x", shape=(2, 1, 8, 8)), torch.tensor([0.5, 0.5])
    without = Guided(model.network, Condition.of(model, ["", ""]), 1.0)(x, time)
    heeding = Guided(model.network, Condition.of(model, ["a seven", "a red apple"]), 1.0)(x, time)
    both = Condition.of(model, ["", "", "a seven", "a red apple"])
    for guidance in (0.0, 0.5, 3.0):
        guided = Guided(model.network, both, guidance)(x, time)
        assert torch.allclose(guided, without + guidance * (heeding - without), atol=1e-5)


def test_guidance_without_negative_prompts_is_refused():
    model = tiny_model()
    with pytest.raises(InputError, match=r"guidance is 3\.0, and the condition has prompts alone"):
        Guided(model.network, Condition.of(model, ["a seven"]), 3.0)


def test_guidance_one_asks_the_network_once_with_half_the_batch(pipe, monkeypatch):
    sizes = []
    forward = type(pipe.model.network).forward

    def spy(self, x, *args, **kwargs):
        answer = forward(self, x, *args, **kwargs)
        sizes.append(len(answer.sample))
        return answer

    monkeypatch.setattr(type(pipe.model.network), "forward", spy)
    pipe("a seven", steps=3, guidance=1, scheduler="Euler")
    pipe("a seven", steps=3, guidance=2, scheduler="Euler")
    assert sizes == [1, 1, 1, 2, 2, 2]


def test_names_of_schedulers_are_looked_up_once_and_not_for_every_request(pipe, monkeypatch):
    pipe.denoise("a seven", scheduler="Euler Karras")
    asked, plain = [], names.get
    monkeypatch.setattr(names, "get", lambda *words: asked.append(words) or plain(*words))
    assert pipe.denoise("a seven", scheduler="k_euler karras").recipes[0].scheduler == "Euler Karras"
    assert len(asked) < 5


def test_text_is_embedded_once_a_run_and_remembered(pipe, monkeypatch):
    calls = []
    remember = type(pipe.model.network).remember
    monkeypatch.setattr(
        type(pipe.model.network), "remember", lambda *a, **k: calls.append("keys") or remember(*a, **k)
    )
    encode = type(pipe.model.text_encoder).forward
    monkeypatch.setattr(
        type(pipe.model.text_encoder), "forward", lambda *a, **k: calls.append("text") or encode(*a, **k)
    )
    pipe("a seven", steps=6, count=3)
    assert calls == ["text", "text", "keys"]  # the empty negative prompt, the prompt; nothing more


def test_a_learned_variance_is_the_prompts_own():
    pipe = TextToImage(tiny_model(variance="learned_range", schedule=DiscreteVP.linear()))
    made = pipe("a seven", seed=1, scheduler="DDPM", guidance=4)
    assert (
        apart(made.arrays[0], pipe("a seven", seed=1, count=2, scheduler="DDPM", guidance=4).arrays[0])
        <= CLOSE
    )


def test_whole_numbers_may_be_numpy_s(pipe):
    steps, seed, count, side = np.array([3, 9, 2, 8])
    made = pipe("a seven", steps=steps, seed=seed, count=count, width=side)
    plain = pipe("a seven", steps=3, seed=9, count=2, width=8)
    assert np.array_equal(made.arrays, plain.arrays)
    assert [recipe.to_json() for recipe in made.recipes] == [recipe.to_json() for recipe in plain.recipes]
    plan = names.get("DDIM").plan(DiscreteVP.linear(), steps)
    assert plan == names.get("DDIM").plan(DiscreteVP.linear(), 3)


def test_numbers_may_be_numpy_s_and_their_recipe_is_read_again(pipe):
    share, every = np.linspace(0.25, 0.75, 3)[1], np.arange(4)[3]
    rule = Interval(Rescaled(Scale(np.float32(3)), share), share, share + 4)
    half = Fraction(1, 2)
    parts = Interval(Rescaled(Projected(Fraction(3), half), half), half, 5)
    for options in (
        {"guidance": rule},
        {"guidance": Projected(3.0, share)},
        {"cache": share},
        {"guidance": parts},
        {"clip_skip": np.int64(1)},
    ):
        recipe = pipe("a seven", seed=1, **options).recipes[0]
        assert Recipe.from_json(recipe.to_json()) == recipe
        assert "np." not in recipe.to_json()
    assert FeatureCache.from_text(FeatureCache(None, every).to_text()) == FeatureCache(None, 3)
    assert FeatureCache.from_text(FeatureCache(Fraction(3, 20)).to_text()) == FeatureCache(0.15)
    assert from_text(3.0, to_text(parts)) == parts == Interval(Rescaled(Projected(3.0, 0.5), 0.5), 0.5, 5.0)
    with pytest.raises(InputError, match=r"^the guidance interval's low is '1'; give a number"):
        Interval(Scale(3.0), "1", 5)
    assert from_text(3.0, to_text(rule)) == Interval(Rescaled(Scale(3.0), 0.5), 0.5, 4.5)


def test_given_latents_take_the_place_of_the_seeds_noise(pipe):
    noise = normal(7, "start", shape=(1, 8, 8)).unsqueeze(0)
    given = pipe("a seven", seed=3, latents=noise)
    assert np.array_equal(given.arrays[0], pipe("a seven", seed=7).arrays[0])
    assert given.recipes[0].own_noise


def test_a_recipe_makes_its_picture_again(pipe):
    made = pipe("a red apple", negative="two", steps=6, guidance=3.5, scheduler="euler_a", width=10, count=3)
    r = made.recipes[1]
    again = pipe(
        r.prompt,
        negative=r.negative,
        seed=r.seed,
        steps=r.steps,
        guidance=r.guidance,
        scheduler=r.scheduler,
        width=r.width,
        height=r.height,
    )
    assert apart(again.arrays[0], made.arrays[1]) <= CLOSE


def test_a_random_seed_is_told(pipe):
    first, second = (pipe("a seven").recipes[0].seed for _ in range(2))
    assert first != second


def test_a_scheduler_object_is_named_when_it_has_a_name(pipe):
    assert pipe("a seven", scheduler=names.get("lms")).recipes[0].scheduler == "LMS"
    assert pipe("a seven", scheduler="dpmpp 2m karras").recipes[0].scheduler == "DPM++ 2M Karras"
    own = Scheduler(grid=grids.Karras(rho=3.0), solver=solvers.Adams(2, "sigma", "noise"))
    assert "rho=3.0" in pipe("a seven", scheduler=own).recipes[0].scheduler


def test_unknown_words_are_told(pipe):
    assert "zebra" in pipe("a zebra").notes[0]
    assert pipe("a seven").notes == ()


@pytest.mark.parametrize("prompt", ["", "🙂 " * 50, "x" * 10_000, "\ud800", "a\0b", "Ünï\u202e"])
def test_any_prompt_makes_a_picture(pipe, prompt):
    assert pipe(prompt, steps=1).images


def test_a_model_without_captions_makes_pictures_of_nothing_asked():
    pipe = TextToImage(tiny_model(text=False))
    made = pipe(seed=1)
    assert made.recipes[0].guidance == 1.0
    for ask in ({"prompt": "a seven"}, {"guidance": 2.0}, {"negative": "x"}):
        with pytest.raises(InputError):
            pipe(**ask)


def test_nan_from_the_network_names_the_step():
    model = tiny_model()
    calls = []
    forward = model.network.forward

    def spoil(x, *args, **kwargs):
        calls.append(1)
        made = forward(x, *args, **kwargs)
        return made._replace(sample=made.sample * float("nan")) if len(calls) == 3 else made

    model.network.forward = spoil
    with pytest.raises(NonFiniteError, match="step 3 of 5"):
        TextToImage(model)("a seven", steps=5, scheduler="Euler")


def test_a_run_that_could_not_make_a_step_gives_no_picture():
    """Neither that of the step before nor, asked again, one of fewer steps."""
    model = tiny_model()
    spoilt = itertools.count(1)

    def spoil(module, args, made):
        return made._replace(sample=made.sample * math.nan) if next(spoilt) == 5 else made

    model.network.register_forward_hook(spoil)
    run = TextToImage(model).denoise("a seven", steps=5, scheduler="Euler")
    with pytest.raises(NonFiniteError, match="step 5 of 5"):
        run.result()
    for _ in range(2):
        with pytest.raises(InputError, match="broke off at step 5 of 5"):
            run.result()


@pytest.mark.parametrize("name", ["DPM++ 2M", "Heun", "Euler a", "DPM adaptive"])
@pytest.mark.parametrize("place", [1, 2, 4])
def test_a_run_goes_on_where_it_was_interrupted(name, place):
    """As a notebook's stop button does, in the middle of a step; the same picture as without."""
    model, calls = tiny_model(), itertools.count(1)
    ask = {"prompt": "a seven", "steps": 4, "seed": 7, "scheduler": name}
    whole = TextToImage(model)(**ask).arrays[0]

    def interrupt(*_):
        if next(calls) == place:
            raise KeyboardInterrupt

    model.network.register_forward_hook(interrupt)
    run = TextToImage(model).denoise(**ask)
    with pytest.raises(KeyboardInterrupt):
        run.result()
    assert np.array_equal(run.result().arrays[0], whole)
    assert len(list(run)) == 0


def test_a_pipeline_of_another_class_keeps_what_that_keeps():
    class Signed(TextToImage):
        def __init__(self, model, sign):
            super().__init__(model)
            self.sign = sign

    signed = Signed(tiny_model(), "ink")
    other = signed.with_clip_skip(1)
    assert (type(other), other.sign, other.model.clip_skip) == (Signed, "ink", 1)
    assert signed.model.clip_skip == 0


def test_any_denoiser_that_answers_with_x0_fits_the_plan(pipe):
    """The seam to schedulers: a plan asks a callable, and takes an Estimate or the clean sample."""
    plan = names.get("Euler").plan(pipe.model.schedule, 4)
    x = plan.initial(normal(0, "x", shape=(1, 1, 8, 8)))
    target = torch.full_like(x, 0.25)
    plainly = [step.x for step in plan.run(lambda x, level: target, x)][-1]
    estimated = [step.x for step in plan.run(lambda x, level: Estimate.from_x0(x, level, target), x)][-1]
    assert torch.equal(plainly, estimated)
    assert torch.allclose(plainly, target, atol=1e-6)


BAD = [
    ({"steps": 0}, "steps is 0"),
    ({"steps": -1}, "steps is -1"),
    ({"steps": 1.5}, "steps is 1.5"),
    ({"steps": 1001}, "steps is 1001"),
    ({"steps": True}, "steps is True"),
    ({"scheduler": 3}, "scheduler is 3; "),
    ({"steps": "20"}, "steps is '20'"),
    ({"guidance": float("nan")}, "guidance is nan"),
    ({"guidance": float("inf")}, "guidance is inf"),
    ({"guidance": -1}, "guidance is -1"),
    ({"guidance": "2"}, "guidance is '2'"),
    ({"width": 0}, "width is 0"),
    ({"height": -8}, "height is -8"),
    ({"width": 100_000}, "width is 100000"),
    ({"count": 0}, "count is 0"),
    ({"count": 257}, "count is 257"),
    ({"seed": -1}, "seed holds -1"),
    ({"seed": 1.5}, "seed holds 1.5"),
    ({"seeds": [1, 2]}, "seeds is"),
    ({"seed": 2**63 - 1, "count": 2}, "seed holds 9223372036854775808"),
    ({"seeds": ["x"]}, "seeds holds 'x'"),
    ({"seed": 1, "seeds": [1]}, "one of the two"),
    ({"scheduler": "magic"}, "magic.*nearest"),
    ({"negative": ["a", "b"]}, "2 negative prompts"),
    ({"prompt": []}, "prompt is"),
    ({"prompt": 3}, "prompt is 3"),
    ({"prompt": ["a", 3]}, "prompt is"),
    ({"prompt": ["a"] * 300}, "number of pictures is 300"),
    ({"latents": torch.zeros(1, 1, 4, 4)}, "latents is"),
    ({"latents": "noise"}, "latents is str"),
    ({"latents": torch.full((1, 1, 8, 8), float("nan"))}, "not finite"),
    ({"show_every": 0}, "show_every is 0"),
]


@pytest.mark.parametrize(("ask", "words"), BAD, ids=[str(ask)[:40] for ask, _ in BAD])
def test_what_makes_no_sense_is_refused_before_the_first_step(pipe, ask, words):
    with pytest.raises(InputError, match=words):
        pipe(**{"prompt": "a seven", **ask})


@pytest.mark.parametrize("name", [row.name for row in names.table()])
def test_no_scheduler_takes_a_number_that_makes_no_sense(pipe, name):
    """Before a network is asked: one that would be would fail here."""
    asked = []
    hook = pipe.model.network.register_forward_pre_hook(lambda *_: asked.append(1))
    with hook:
        for field, values in (
            ("steps", (0, -1, 1.5, 1001, float("nan"))),
            ("width", (0, -32, 100_000)),
            ("guidance", (float("nan"), float("inf"))),
            ("count", (0,)),
        ):
            for value in values:
                with pytest.raises(InputError, match=f"{field} is {value}"):
                    pipe("a seven", scheduler=name, **{field: value})
    assert not asked


@pytest.mark.parametrize("rule", [noise.Ancestral, noise.FlowAncestral])
def test_more_fresh_noise_than_a_step_has_is_refused(rule):
    with pytest.raises(InputError, match="eta is 5"):
        rule(5.0)


def test_denoise_refuses_when_called_not_when_iterated(pipe):
    with pytest.raises(InputError):
        pipe.denoise("a seven", steps=0)


def test_show_every_prints_in_a_terminal(pipe, capsys):
    pipe("a seven", steps=5, show_every=2)
    heads = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step")]
    assert heads == ["step 2 of 5", "step 4 of 5", "step 5 of 5"]


def test_a_result_shows_the_steps_that_it_makes_and_not_those_that_were_looked_at(pipe, capsys):
    run = pipe.denoise("a seven", steps=5, show_every=2)
    for _ in range(3):
        next(run)
    assert capsys.readouterr().out == ""
    run.result()
    heads = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step")]
    assert heads == ["step 4 of 5", "step 5 of 5"]


def test_a_call_takes_what_the_run_takes_of_a_class_of_ones_own_too(pipe):
    assert inspect.signature(pipe).parameters == inspect.signature(pipe.denoise).parameters

    class Louder(TextToImage):
        def denoise(self, prompt, **options):
            return super().denoise(f"({prompt}:1.2)", **options)

    made = Louder(pipe.model)("a seven", steps=2, seed=1)
    assert made.recipes[0].prompt == "(a seven:1.2)"


def test_show_every_displays_inline_in_a_notebook(pipe, monkeypatch):
    import sys
    import types

    shown = []
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    display.display = shown.append
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    pipe("a seven", steps=4, show_every=2)
    assert shown[0] == "step 2 of 4"
    assert shown[1].size == (128, 128)
    assert len(shown) == 4


def test_a_run_that_a_refiner_ends_draws_one_start(monkeypatch):
    """And where both models are one, the run is that of the model alone."""
    drawn, draw = [], NoiseSource.__call__

    def watched(self, purpose, *place, like):
        drawn.append(purpose)
        return draw(self, purpose, *place, like=like)

    monkeypatch.setattr(NoiseSource, "__call__", watched)
    pipe = TextToImage(tiny_model(schedule=DiscreteVP.scaled_linear()))
    ended = pipe.with_refiner(pipe.model, 0.5)("a seven", seed=1)
    assert drawn == ["start"]
    assert np.array_equal(ended.arrays[0], pipe("a seven", seed=1).arrays[0])


@pytest.mark.parametrize("dtype", [torch.int8, "half"])
def test_a_dtype_that_no_network_computes_in_is_refused(dtype):
    with pytest.raises(InputError, match=r"dtype is .*; give one of torch\.float32"):
        unnoise.load("digits", dtype=dtype)
