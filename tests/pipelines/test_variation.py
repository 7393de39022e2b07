"""Pictures alike: the start's noise moved towards another seed's, as A1111 does it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from tiny_model import tiny_model
from unnoise import images
from unnoise.errors import InputError
from unnoise.pipelines import Recipe, Repeat, SecondPass, TextToImage, verify
from unnoise.pipelines.start_noise import mixed, start_noise
from unnoise.process import DiscreteVP


@pytest.fixture(scope="module")
def pipe():
    return TextToImage(tiny_model(schedule=DiscreteVP.scaled_linear(), name="tiny"))


def test_each_column_goes_along_the_arc_between_two_noises():
    """sin((1 - s) w) / sin w of the one and sin(s w) / sin w of the other, w the angle between them, in float64."""
    one, other = start_noise("torch", (5, 6), (2, 4, 9, 7)), start_noise("cuda", (7, 8), (2, 4, 9, 7))
    found = mixed(one, other, 0.3).numpy()
    for place in np.ndindex(2, 4, 7):
        at = (*place[:2], slice(None), place[2])
        a, b = one.numpy()[at].astype(np.float64), other.numpy()[at].astype(np.float64)
        angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        wanted = (np.sin(0.7 * angle) * a + np.sin(0.3 * angle) * b) / np.sin(angle)
        np.testing.assert_allclose(found[at], wanted, rtol=0, atol=1e-5)  # float32 sines


def test_the_ends_of_the_arc_are_the_two_noises_and_what_lies_between_is_noise():
    one, other = start_noise("torch", (5,), (1, 4, 64, 64)), start_noise("torch", (6,), (1, 4, 64, 64))
    torch.testing.assert_close(mixed(one, other, 0.0), one)
    torch.testing.assert_close(mixed(one, other, 1.0), other)
    for share in (0.1, 0.5, 0.9):
        # a mean in a line would have sqrt(0.5) at the half
        assert abs(float(mixed(one, other, share).std()) - 1.0) < 0.02  # 16,384 numbers
    torch.testing.assert_close(mixed(one, one, 0.5), one)  # no arc


def test_columns_without_an_arc_stay_finite():
    flat = torch.tensor([[[[1.0, -2.0, 0.5]]]])  # of one row: all columns point the same way, or the opposite
    assert bool(torch.isfinite(mixed(flat, -flat, 0.3)).all())


def test_variations_have_one_seed_and_the_other_counts_on(pipe):
    asked = {"steps": 3, "seed": 9}
    made = pipe("a seven", count=3, variation=(20, 0.2), **asked)
    told = [(one.seed, one.variation_seed, one.variation) for one in made.recipes]
    assert told == [(9, 20, 0.2), (9, 21, 0.2), (9, 22, 0.2)]
    alone = pipe("a seven", variation=(22, 0.2), **asked)
    assert alone.recipes[0] == replace(made.recipes[2], batch=0)
    np.testing.assert_allclose(alone.arrays[0], made.arrays[2], rtol=0, atol=1e-5)  # another batch
    assert np.array_equal(
        pipe("a seven", variation=(22, 0.0), **asked).arrays[0], pipe("a seven", **asked).arrays[0]
    )
    assert pipe("a seven", count=2, variation=(22, 0.0), **asked).recipes[1].seed == 10
    given = pipe("a seven", count=2, seeds=[4, 6], steps=1, variation=(20, 0.2)).recipes
    assert [(one.seed, one.variation_seed) for one in given] == [(4, 20), (6, 21)]


def test_the_nearer_the_share_to_one_the_nearer_the_picture_to_the_other_seeds(pipe):
    asked = {"steps": 5, "scheduler": "Euler"}
    (other,) = pipe("a seven", seed=20, **asked).arrays
    apart = [
        float(np.abs(pipe("a seven", seed=9, variation=(20, share), **asked).arrays[0] - other).mean())
        for share in (0.0, 0.5, 1.0)
    ]
    assert apart[0] > apart[1] > apart[2]
    assert apart[2] < 1e-5


@pytest.mark.parametrize("noise", [None, "torch", "cuda"])
def test_a_variation_is_made_again_from_its_file(pipe, tmp_path, noise):
    made = pipe("a seven", steps=3, seed=9, noise=noise, variation=(20, 0.25))
    path = tmp_path / "a.png"
    images.write_png(path, made.images[0], made.recipes[0].png_text())
    assert Repeat.of(path, pipe.model).notes == ()
    assert verify(pipe, path).verdict == "bit-equal"
    text = made.recipes[0].to_parameters()
    assert "Variation seed: 20, Variation seed strength: 0.25" in text
    again = Recipe.from_parameters(text)
    assert (again.seed, again.variation_seed, again.variation) == (9, 20, 0.25)
    assert "Variation" not in pipe("a seven", steps=1, seed=9).recipes[0].to_parameters()


def test_a1111s_variations_are_followed(pipe, tmp_path):
    text = (
        "a seven\nSteps: 3, Sampler: Euler, CFG scale: 2, Seed: 5, Size: 8x8, Model: tiny, Variation seed: 1234, "
        "Variation seed strength: 0.15, RNG: CPU, Version: v1.10.1"
    )
    path = tmp_path / "a.png"
    images.write_png(path, Image.new("L", (8, 8)), {"parameters": text})
    repeat = Repeat.of(path, pipe.model)
    assert not [note for note in repeat.notes if "Variation" in note]
    run = repeat.denoise(pipe)
    wanted = mixed(*(start_noise("torch", (seed,), (1, 1, 8, 8)) for seed in (5, 1234)), 0.15)
    assert torch.equal(run.noise, wanted)


@pytest.mark.parametrize(
    ("told", "note"),
    [
        ("Variation seed: 4, Variation seed strength: 7", ["Variation seed 4; Variation seed strength 7"]),
        (
            "Variation seed: x, Variation seed strength: 0.5",
            ["Variation seed x; Variation seed strength 0.5"],
        ),
        ("Variation seed strength: 0.5", ["Variation seed strength 0.5"]),
        ("Variation seed: 4, Variation seed strength: 0", []),
    ],
)
def test_a_variation_that_is_none_is_said_to_be_passed_over_unless_it_would_do_nothing(
    pipe, tmp_path, told, note
):
    path = tmp_path / "a.png"
    text = f"a seven\nSteps: 3, Sampler: Euler, Seed: 5, Size: 8x8, {told}"
    images.write_png(path, Image.new("L", (8, 8)), {"parameters": text})
    repeat = Repeat.of(path, pipe.model)
    assert [each for each in repeat.notes if "ariation" in each] == [f"not honoured: {one}" for one in note]
    assert "variation" not in repeat.options


@pytest.mark.parametrize("told", [{"variation": 1.5}, {"variation": -0.1}, {"variation_seed": -1}])
def test_a_recipe_of_a_variation_that_is_none_is_refused(pipe, tmp_path, told):
    recipe = replace(pipe.denoise("a seven", steps=1, variation=(4, 0.5)).recipes[0], **told)
    path = tmp_path / "a.png"
    images.write_png(path, Image.new("L", (8, 8)), recipe.png_text())
    with pytest.raises(InputError, match="variation"):
        verify(pipe, path)


def test_at_the_share_0_the_recipe_is_that_of_the_picture_without_a_variation(pipe):
    asked = {"steps": 1, "seed": 9, "count": 2}
    plain = pipe.denoise("a seven", **asked).recipes
    assert pipe.denoise("a seven", variation=(20, 0.0), **asked).recipes == plain
    with pytest.raises(InputError, match="variation holds -1"):
        pipe.denoise("a seven", variation=(-1, 0.0), **asked)


def test_a_second_pass_begins_from_a_variation_too(pipe):
    asked = {"steps": 2, "seed": 9, "scale": 2.0, "strength": 1.0, "scheduler": "Euler"}  # all of it is noise
    made = SecondPass(pipe.model)("a seven", variation=(20, 1.0), **asked).arrays[0]
    other = SecondPass(pipe.model)("a seven", **asked | {"seed": 20}).arrays[0]
    np.testing.assert_allclose(made, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"variation": 7}, "variation is 7; give a seed and a share"),
        ({"variation": (7, 1.5)}, "variation is 1.5"),
        ({"variation": (-1, 0.5)}, "variation holds -1"),
        ({"variation": (2**63 - 1, 0.5), "count": 2}, "variation holds"),
        ({"variation": (7, 0.5), "latents": torch.zeros(1, 1, 8, 8)}, "give one of the two"),
    ],
)
def test_what_makes_no_sense_is_refused(pipe, given, said):
    with pytest.raises(InputError, match=said):
        pipe.denoise("a seven", **given)
