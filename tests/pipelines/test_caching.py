"""Feature caching: where it must be exact to the bit, which looks are whole, and that runs share nothing."""

import itertools
import math

import numpy as np
import pytest
import torch

import unnoise
from tiny_model import tiny_model
from unnoise import images
from unnoise.errors import InputError
from unnoise.evaluation.similarity import structural_similarity
from unnoise.networks.unet import ControlNet, ControlNetConfig, Guide, Reusing, Steered
from unnoise.pipelines import FeatureCache, Interval, Projected, Recipe, Repeat, Scale, TextToImage
from unnoise.randomness import normal

OPTIONS = {"prompt": "a seven", "steps": 8, "seed": 7}


class Counted:
    """Rows of each answer, and of each call of the network's middle, which only whole answers ask."""

    def __init__(self, model):
        network, self.rows, self.deep = model.network, [], []
        self.handles = [
            network.conv_out.register_forward_pre_hook(lambda _, x: self.rows.append(len(x[0]))),
            network.mid_block.register_forward_pre_hook(lambda _, x: self.deep.append(len(x[0]))),
        ]


@pytest.fixture
def counted():
    pipe = TextToImage(tiny_model())
    return pipe, Counted(pipe.model)


@pytest.mark.parametrize("scheduler", ["DPM++ 2M", "Heun", "DPM++ 2M SDE", "DPM++ SDE", "Euler CFG++"])
@pytest.mark.parametrize("cache", [FeatureCache(None, every=1), FeatureCache(0.05, every=1, blocks=1)])
def test_when_every_look_is_whole_the_picture_is_the_exact_one_to_the_bit(pipe, scheduler, cache):
    exact = pipe(**OPTIONS, scheduler=scheduler).arrays[0]
    assert np.array_equal(pipe(**OPTIONS, scheduler=scheduler, cache=cache).arrays[0], exact)


def test_a_turn_of_nothing_is_exact_where_no_level_is_seen_twice(pipe):
    exact = pipe(**OPTIONS, scheduler="DPM++ 2M").arrays[0]
    assert np.array_equal(pipe(**OPTIONS, scheduler="DPM++ 2M", cache=0.0).arrays[0], exact)


@pytest.mark.parametrize("blocks", [1, 2, 0])
@pytest.mark.parametrize("steered", [False, True])
def test_asked_the_same_again_a_quick_answer_is_the_whole_one(blocks, steered):
    """At the same sample and time every feature is unchanged, so reusing some changes nothing."""
    model = tiny_model(channels=3)
    network = model.network
    if steered:
        control = ControlNet(ControlNetConfig(network.config, (3, 4))).eval().requires_grad_(False)
        for place, weight in enumerate(control.parameters()):
            weight.copy_(0.2 * normal(1, "control", place, shape=weight.shape))
        network = Steered(network, [Guide(control, torch.rand(1, 3, 8, 8), 0.9)])
    reusing = Reusing(network, blocks)
    x, time = normal(0, "x", shape=(2, 3, 8, 8)), torch.full((2,), 0.4)
    memory = network.remember(normal(0, "text", shape=(2, 5, 16)))
    whole = reusing(x, time, memory).sample
    assert torch.equal(whole, network(x, time, memory).sample)
    reusing.whole = False
    torch.testing.assert_close(reusing(x, time, memory).sample, whole, rtol=0, atol=1e-6)
    other = reusing(x + 0.5, time, memory).sample
    assert (other - network(x + 0.5, time, memory).sample).abs().max() > 1e-3  # it was a quick answer


@pytest.mark.parametrize("steered", [False, True])
@pytest.mark.parametrize("cached", [False, True])
def test_who_watches_a_unet_sees_each_of_its_answers_with_a_cache_and_control_nets_too(steered, cached):
    seen = []
    network = inner = tiny_model().network
    inner.register_forward_hook(lambda module, given, answer: seen.append(answer.sample))
    if steered:
        control = ControlNet(ControlNetConfig(inner.config, hints=(3, 4))).requires_grad_(False)
        network = Steered(network, [Guide(control, torch.rand(1, 3, 8, 8), 0.9)])
    network = Reusing(network) if cached else network
    x = normal(1, "watched", shape=(1, 1, 8, 8))
    answer = network(x, 400.0, normal(2, "text", shape=(1, 5, 16))).sample
    assert len(seen) == 1
    assert torch.equal(seen[0], answer)


def test_the_whole_looks_are_those_after_the_turn(counted):
    pipe, counts = counted
    turn = 0.5
    run = pipe.denoise(**OPTIONS, scheduler="DPM++ 2M", cache=turn, guidance=1.0)
    angles = [math.atan2(level.sigma, level.alpha) for level in run._plan.looks]
    last, expected = math.inf, 0
    for now in angles:
        if abs(now - last) > turn:
            last, expected = now, expected + 1
    run.result()
    assert counts.rows == [1] * 8
    assert counts.deep == [1] * expected
    assert 1 < expected < 8


def test_quick_looks_ask_for_the_prompt_alone_and_keep_the_pull_of_guidance(counted):
    pipe, counts = counted
    pipe(**OPTIONS, scheduler="DPM++ 2M", cache="every=4", guidance=3.0)
    assert counts.rows == [2, 1, 1, 1, 2, 1, 1, 1]
    assert counts.deep == [2, 2]


@pytest.mark.parametrize("guidance", [Scale(3.0), Projected(3.0)])
def test_a_guidance_interval_halves_the_looks_outside_it(counted, guidance):
    pipe, counts = counted
    run = pipe.denoise(**OPTIONS, scheduler="DPM++ 2M", guidance=Interval(guidance, 0.2, 3.0))
    inside = [0.2 < float(level.ratio) <= 3.0 for level in run._plan.looks]
    run.result()
    assert counts.rows == [2 if guided else 1 for guided in inside]
    assert 0 < sum(inside) < 8


def test_a_guidance_interval_and_a_cache_go_together(counted):
    pipe, counts = counted
    guidance = Interval(Scale(3.0), 0.2, 3.0)
    pipe(**OPTIONS, scheduler="DPM++ 2M", guidance=guidance, cache="every=2")
    assert len(counts.rows) == 8
    assert len(counts.deep) < 8


@pytest.mark.parametrize("scheduler", ["Heun", "DPM2", "DPM++ SDE", "UniPC", "LMS", "Restart"])
def test_every_solver_runs_with_a_cache_and_makes_the_same_picture_again(pipe, scheduler):
    exact, one, other = (
        pipe(**OPTIONS, scheduler=scheduler, cache=cache).arrays[0] for cache in (None, 0.5, 0.5)
    )
    assert np.array_equal(one, other)
    assert not np.array_equal(one, exact)
    assert np.isfinite(one).all()


def test_runs_at_the_same_time_do_not_disturb_one_another(pipe):
    def run(seed):
        return pipe.denoise("a seven", steps=8, seed=seed, cache=0.5)

    alone = [run(seed).result().arrays[0] for seed in (1, 2)]
    together = [run(seed) for seed in (1, 2)]
    for _ in itertools.zip_longest(*together):
        pass
    assert all(np.array_equal(a, b.result().arrays[0]) for a, b in zip(alone, together, strict=True))


def test_a_picture_does_not_depend_on_its_batch(pipe):
    three = pipe(["a seven"] * 3, seed=5, steps=8, cache=0.5).arrays[1]
    assert np.abs(pipe("a seven", seed=6, steps=8, cache=0.5).arrays[0] - three).max() < 1e-4


def test_words_that_change_are_heeded_at_once(counted):
    """Kept features are those of the old words, so the look after a change is whole."""
    pipe, counts = counted
    pipe("a [seven:red apple:0.5]", steps=8, seed=7, scheduler="DPM++ 2M", cache="every=100", guidance=1.0)
    assert counts.deep == [1, 1]


def test_joined_prompts_and_pictures_of_another_begin_work_with_a_cache(pipe):
    from unnoise.pipelines import ImageToImage, SecondPass

    first = pipe("a seven AND the number two", steps=8, seed=7, cache=0.5)
    again = ImageToImage(pipe.model)("a red apple", first.images[0], steps=8, seed=7, cache=0.5)
    larger = SecondPass(pipe.model)("a seven", steps=8, seed=7, cache=0.5)
    for result in (first, again, larger):
        assert np.isfinite(result.arrays[0]).all()
        assert result.recipes[0].cache == "turn 0.5"


def test_the_shipped_models_pictures_stay_nearly_the_same():
    pipe = unnoise.load("digits")
    prompts = ["a seven", "a three", "an eight", "a zero"]
    exact, quick = (
        torch.from_numpy(np.stack(pipe(prompts, seed=3, cache=cache).arrays)).permute(0, 3, 1, 2) * 2 - 1
        for cache in (None, 0.15)
    )
    similarity = structural_similarity(quick, exact)
    assert similarity.mean() > 0.95
    assert similarity.min() < 1.0


@pytest.mark.parametrize(
    "cache", [FeatureCache(), FeatureCache(0.1, every=3), FeatureCache(None, every=4, blocks=1)]
)
def test_a_recipe_brings_the_cache_back(pipe, cache):
    recipe = pipe.denoise(**OPTIONS, cache=cache).recipes[0]
    assert FeatureCache.from_text(recipe.cache) == cache
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert Recipe.from_parameters(recipe.to_parameters()).cache == recipe.cache


@pytest.mark.parametrize(
    ("cache", "words"),
    [
        (2.0, "radians from 0 to 1.57"),
        (True, "radians"),
        ("soon", "makes no sense"),
        ("every=x", "makes no sense"),
        ("turn 0.1 every", "makes no sense"),
        ("turn 0.1 turn 0.2", "makes no sense"),
    ],
)
def test_what_makes_no_sense_is_refused(pipe, cache, words):
    with pytest.raises(InputError, match=words):
        pipe.denoise(**OPTIONS, cache=cache)


def test_a_cache_that_would_never_look_again_is_refused():
    with pytest.raises(InputError, match="never look again"):
        FeatureCache(None)


def test_the_text_alone_repeats_the_cache(pipe, tmp_path):
    made = pipe(**OPTIONS, scheduler="DPM++ 2M", cache="every=3")
    text = {"parameters": made.recipes[0].to_parameters()}
    images.write_png(tmp_path / "a.png", made.images[0], text)
    repeat = Repeat.of(tmp_path / "a.png", pipe.model)
    assert not any("cache" in note for note in repeat.notes)
    assert np.array_equal(repeat.denoise(pipe).result().arrays[0], made.arrays[0])
