"""Token merging in pipelines: exact when off, repeated from a recipe, the same alone and in a batch."""

import itertools

import numpy as np
import pytest
import torch

from adapter_files import kohya
from tiny_model import tiny_model
from unnoise import images
from unnoise.errors import InputError
from unnoise.networks.unet import (
    ControlNet,
    ControlNetConfig,
    Guide,
    Merging,
    Reusing,
    Steered,
    merging,
    with_merging,
)
from unnoise.pipelines import (
    ImageToImage,
    Inpaint,
    Recipe,
    Repeat,
    SecondPass,
    TextToImage,
    TokenMerging,
    verify,
)
from unnoise.randomness import normal

OPTIONS = {"prompt": "a seven", "steps": 6, "seed": 7}


def test_no_share_is_exact_to_the_bit_and_leaves_no_trace(pipe):
    exact = pipe(**OPTIONS)
    assert np.array_equal(pipe(**OPTIONS, merge=0.0).arrays[0], exact.arrays[0])
    merged = pipe(**OPTIONS, merge=0.5).arrays[0]
    assert not np.array_equal(merged, exact.arrays[0])
    assert np.array_equal(pipe(**OPTIONS).arrays[0], exact.arrays[0])
    assert exact.recipes[0].merge == ""


@pytest.mark.parametrize("scheduler", ["DPM++ 2M", "Heun", "DPM++ 2M SDE", "Euler CFG++"])
def test_a_picture_is_made_again_to_the_bit(pipe, scheduler):
    one, other = (pipe(**OPTIONS, scheduler=scheduler, merge=0.5).arrays[0] for _ in range(2))
    assert np.array_equal(one, other)
    assert np.isfinite(one).all()


def test_other_tokens_are_kept_at_every_look(pipe, monkeypatch):
    looks = []
    homes = Merging.homes
    monkeypatch.setattr(Merging, "homes", lambda work, x: (looks.append(work.look), homes(work, x))[1])
    run = pipe.denoise(**OPTIONS, scheduler="Heun", merge=0.5)
    run.result()
    asked = len(run._plan.looks)
    assert asked > len(run)  # Heun looks twice at most steps
    assert sorted(set(looks)) == list(range(asked))


def test_what_is_kept_is_drawn_once_a_look_and_size(pipe, monkeypatch):
    drawn, asked = [], []
    generator, homes = merging.generator, Merging.homes
    monkeypatch.setattr(merging, "generator", lambda *key: (drawn.append(key), generator(*key))[1])
    monkeypatch.setattr(Merging, "homes", lambda work, x: (asked.append(work.look), homes(work, x))[1])
    merging.windows.cache_clear()
    pipe.denoise(**OPTIONS, merge=TokenMerging(0.5, 1)).result()
    assert len(drawn) == len(set(asked)) == OPTIONS["steps"] < len(asked)


def test_a_look_between_the_steps_changes_nothing(pipe):
    run = pipe.denoise(**OPTIONS, merge=0.5)
    for step in run:
        run.estimate(step.x, step.start)
    assert np.array_equal(run.result().arrays[0], pipe(**OPTIONS, merge=0.5).arrays[0])


def test_a_picture_does_not_depend_on_its_batch(pipe):
    three = pipe(["a seven"] * 3, seed=5, steps=6, merge=0.5).arrays[1]
    assert np.abs(pipe("a seven", seed=6, steps=6, merge=0.5).arrays[0] - three).max() < 1e-4


def test_runs_at_the_same_time_do_not_disturb_one_another(pipe):
    def run(seed, merge):
        return pipe.denoise("a seven", steps=6, seed=seed, merge=merge)

    asked = [(1, 0.5), (2, None), (3, 0.75)]
    alone = [run(*each).result().arrays[0] for each in asked]
    together = [run(*each) for each in asked]
    for _ in itertools.zip_longest(*together):
        pass
    assert all(np.array_equal(a, b.result().arrays[0]) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize(("width", "height"), [(10, 8), (14, 18), (2, 2)])
def test_sides_may_be_odd(pipe, width, height):
    made = pipe(**OPTIONS, width=width, height=height, merge=0.75).arrays[0]
    assert made.shape[:2] == (height, width)
    assert np.isfinite(made).all()


def test_all_ways_to_make_a_picture_take_it(pipe):
    first = pipe("a seven AND the number two", steps=6, seed=7, merge=0.5)
    again = ImageToImage(pipe.model)("a red apple", first.images[0], steps=6, seed=7, merge=0.5)
    mask = images.array_to_pil(np.tile(np.linspace(0, 1, 8).round()[:, None, None], (1, 8, 1)))
    inside = Inpaint(pipe.model)("a red apple", first.images[0], mask, steps=6, seed=7, merge=0.5)
    larger = SecondPass(pipe.model)("a seven", steps=6, seed=7, merge=0.5)
    for result in (first, again, inside, larger):
        assert np.isfinite(result.arrays[0]).all()
        assert result.recipes[0].merge == "share 0.5"


def test_adapted_layers_are_those_that_read_merged_tokens(pipe, tmp_path):
    """A LoRA kept beside the weights does what the same one does inside them."""
    path = kohya(pipe.model, tmp_path / "ink.safetensors")
    into, beside = (pipe.with_lora(path, live=live)(**OPTIONS, merge=0.5).arrays[0] for live in (False, True))
    assert np.abs(into - beside).max() < 1e-4
    assert np.abs(into - pipe(**OPTIONS, merge=0.5).arrays[0]).max() > 1e-2


@pytest.mark.parametrize("blocks", [1, 0])
def test_it_goes_with_controlnets_and_with_a_cache(blocks):
    """Asked the same again, a quick answer is the whole one, whatever it is made of."""
    network = tiny_model(channels=3).network
    control = ControlNet(ControlNetConfig(network.config, (3, 4))).eval().requires_grad_(False)
    for place, weight in enumerate(control.parameters()):
        weight.copy_(0.2 * normal(1, "control", place, shape=weight.shape))
    guides = [Guide(control, torch.rand(1, 3, 8, 8), 0.9)]
    steered = Steered(with_merging(network, Merging(0.5, least=4)), guides)
    reusing = Reusing(steered, blocks)
    given = normal(0, "x", shape=(2, 3, 8, 8)), torch.full((2,), 0.4)
    memory = steered.remember(normal(0, "text", shape=(2, 5, 16)))
    whole = reusing(*given, memory).sample
    assert torch.equal(whole, steered(*given, memory).sample)
    assert not torch.equal(whole, Steered(network, guides)(*given, memory).sample)
    reusing.whole = False
    torch.testing.assert_close(reusing(*given, memory).sample, whole, rtol=0, atol=1e-6)


def test_a_cache_whose_looks_are_all_whole_changes_nothing(pipe):
    merged = pipe(**OPTIONS, merge=0.5).arrays[0]
    assert np.array_equal(pipe(**OPTIONS, merge=0.5, cache="every=1").arrays[0], merged)
    quick = pipe(**OPTIONS, merge=0.5, cache="every=3")
    assert not np.array_equal(quick.arrays[0], merged)
    assert (quick.recipes[0].cache, quick.recipes[0].merge) == ("every 3", "share 0.5")


def test_it_runs_in_half_precision():
    model = tiny_model()
    model.network.bfloat16()
    made = TextToImage(model)(**OPTIONS, merge=0.5).arrays[0]
    assert np.isfinite(made).all()
    assert np.array_equal(TextToImage(model)(**OPTIONS, merge=0.5).arrays[0], made)


@pytest.mark.parametrize("merge", [TokenMerging(), TokenMerging(0.3, 1024), TokenMerging(0)])
def test_a_recipe_brings_it_back(pipe, merge):
    recipe = pipe.denoise(**OPTIONS, merge=merge).recipes[0]
    assert TokenMerging.from_text(recipe.merge) == merge
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert Recipe.from_parameters(recipe.to_parameters()).merge == recipe.merge


@pytest.mark.parametrize("text_alone", [False, True])
def test_the_file_of_a_picture_makes_it_again(pipe, tmp_path, text_alone):
    made = pipe(**OPTIONS, scheduler="DPM++ 2M", merge="share=0.75 least=4")
    recipe = made.recipes[0]
    text = {"parameters": recipe.to_parameters()} if text_alone else recipe.png_text()
    images.write_png(tmp_path / "a.png", made.images[0], text)
    repeat = Repeat.of(tmp_path / "a.png", pipe.model)
    assert not any("erge" in note for note in repeat.notes)
    assert np.array_equal(repeat.denoise(pipe).result().arrays[0], made.arrays[0])
    assert verify(pipe, tmp_path / "a.png").verdict == "bit-equal"


@pytest.mark.parametrize(
    ("merge", "words"),
    [
        (0.8, "merging's share is 0.8; give a number from 0 to 0.75, for example 0.5"),
        (True, "merging's share"),
        ("half", "makes no sense as merging"),
        ("share 0.5 least", "makes no sense"),
        ("share 0.5 share 0.5", "makes no sense"),
        ("share=0.5 least=-1", "merging's least is -1"),
    ],
)
def test_what_makes_no_sense_is_refused(pipe, merge, words):
    with pytest.raises(InputError, match=words):
        pipe.denoise(**OPTIONS, merge=merge)


def test_an_engine_that_cannot_says_so():
    pipe = TextToImage(tiny_model(engine="openvino"))
    with pytest.raises(InputError, match="engine 'openvino' merges no tokens; leave merge"):
        pipe.denoise(**OPTIONS, merge=0.5)
