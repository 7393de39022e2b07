"""`compat=` takes another program's values of a scheduler, and the recipe remembers it."""

from dataclasses import replace

import pytest
import torch

from unnoise.errors import InputError
from unnoise.pipelines import Recipe, TextToImage
from unnoise.process import DiscreteVP
from unnoise.schedulers import names


@pytest.fixture
def table_pipe(pipe):
    return TextToImage(replace(pipe.model, schedule=DiscreteVP.scaled_linear()))


def test_the_run_is_made_by_the_program_s_own_levels(table_pipe):
    run = table_pipe.denoise("a", seed=1, steps=6, scheduler="DDIM Linspace", compat="diffusers")
    want = names.get("DDIM Linspace", compat="diffusers").plan(table_pipe.model.schedule, 6)
    assert [step.level for step in run] == list(want.levels[1:])


def test_the_recipe_holds_the_program_both_ways(table_pipe):
    result = table_pipe("a", seed=1, steps=4, scheduler="Euler Karras", compat="k-diffusion")
    recipe = result.recipes[0]
    assert (recipe.scheduler, recipe.compat) == ("Euler Karras", "k-diffusion")
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_without_it_the_right_formula_is_taken(table_pipe):
    right = table_pipe("a", seed=1, steps=6, scheduler="DDIM Linspace")
    theirs = table_pipe("a", seed=1, steps=6, scheduler="DDIM Linspace", compat="diffusers")
    assert right.recipes[0].compat == ""
    assert not torch.equal(torch.from_numpy(right.arrays[0]), torch.from_numpy(theirs.arrays[0]))


def test_an_unknown_program_is_named(table_pipe):
    with pytest.raises(InputError, match="'foo'"):
        table_pipe("a", seed=1, steps=4, compat="foo")
