"""Guidance: each kind against its formula, and where it must be the plain one to the bit."""

import math
import types

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tiny_model import tiny_model
from unnoise.errors import InputError
from unnoise.pipelines import Condition, Guidance, Interval, Projected, Rescaled, Scale
from unnoise.pipelines.combining import Asked, from_text, to_text
from unnoise.pipelines.composing import Mix
from unnoise.pipelines.edit import TwiceGuided
from unnoise.process import DiscreteVP
from unnoise.process.prediction import get as get_prediction
from unnoise.randomness import normal
from unnoise.text import Phrase

SCHEDULE = DiscreteVP.scaled_linear()
SHAPE = (2, 4, 8, 8)
X, WITHOUT, HEEDING = (normal(place, "answers", shape=SHAPE) for place in range(3))


def asked(prediction="noise", time=600.0):
    return Asked(X, SCHEDULE.level(time), get_prediction(prediction))


@pytest.mark.parametrize("guidance", [1.0, Rescaled(Projected(1.0), 0.7), Interval(Scale(1.0), 0.2, 5.0)])
def test_at_scale_one_guidance_is_none_to_the_bit(pipe, guidance):
    """The network is asked with the prompt alone, so the negative prompt cannot matter either."""
    made = pipe("a seven", seed=7, guidance=guidance, negative="a red apple").arrays[0]
    assert np.array_equal(made, pipe("a seven", seed=7, guidance=1.0).arrays[0])


@pytest.mark.parametrize("prediction", ["noise", "velocity", "sample"])
def test_projected_with_nothing_projected_is_the_plain_one(prediction):
    plain = Scale(5.0).combine(WITHOUT, HEEDING, None, [])
    made = Projected(5.0, parallel=1.0, limit=0.0, momentum=0.0).combine(
        WITHOUT, HEEDING, asked(prediction), []
    )
    assert torch.allclose(made, plain, atol=2e-5)


@pytest.mark.parametrize("prediction", ["noise", "velocity", "sample"])
def test_projected_moves_the_clean_sample_at_right_angles_and_no_further_than_its_limit(prediction):
    where = asked(prediction)
    made = Projected(5.0, parallel=0.0, limit=3.0, momentum=0.0).combine(WITHOUT, HEEDING, where, [])
    clean = where.x0(HEEDING).double().flatten(1)
    moved = where.x0(made).double().flatten(1) - clean
    along = (moved * clean).sum(dim=1) / (moved.norm(dim=1) * clean.norm(dim=1))
    assert along.abs().max() < 1e-4
    assert (moved.norm(dim=1) <= 4.0 * 3.0 + 1e-3).all()
    assert (
        moved.norm(dim=1) > 4.0 * 2.0
    ).all()  # at least 3 sin 45 degrees of these answers' difference is left


def test_momentum_adds_what_came_before_and_nothing_at_first():
    rule, still = (Projected(3.0, 1.0, 0.0, momentum) for momentum in (-0.5, 0.0))
    memory = []
    first = rule.combine(WITHOUT, HEEDING, asked(), memory)
    assert torch.equal(first, still.combine(WITHOUT, HEEDING, asked(), []))
    second = rule.combine(WITHOUT, HEEDING, asked(), memory)
    # the same difference again: d - d / 2, half of the guidance's part
    wanted = HEEDING + 0.5 * (first - HEEDING)
    assert torch.allclose(second, wanted, atol=2e-5)


def test_rescaled_has_the_spread_of_the_answer_that_heeds():
    plain = Scale(7.0).combine(WITHOUT, HEEDING, None, [])
    spread, wanted = (each.std(dim=(1, 2, 3)) for each in (plain, HEEDING))
    for share in (0.0, 0.7, 1.0):
        made = Rescaled(Scale(7.0), share).combine(WITHOUT, HEEDING, None, [])
        assert torch.allclose(made.std(dim=(1, 2, 3)), share * wanted + (1 - share) * spread, rtol=1e-5)
        assert torch.allclose(made / made.std(), plain / plain.std(), atol=0.2)


class Counting:
    """A network in whose place the rows of answers are counted."""

    def __init__(self, network):
        self.network, self.config, self.rows = network, network.config, []

    def __getattr__(self, name):
        return getattr(self.network, name)

    def __call__(self, x, *args, **options):
        answer = self.network(x, *args, **options)
        self.rows.append(len(answer.sample))
        return answer


def test_outside_its_interval_the_network_is_asked_once(pipe, monkeypatch):
    from unnoise.pipelines import given

    run = pipe.denoise("a seven", seed=7, steps=6)
    ratios = [float(step.start.ratio) for step in run]
    low, high = (ratios[4] + ratios[3]) / 2, ratios[1]
    seen = []
    plain = given.Guided
    monkeypatch.setattr(
        given, "Guided", lambda network, *rest: seen.append(Counting(network)) or plain(seen[0], *rest)
    )
    pipe("a seven", seed=7, steps=6, guidance=Interval(Scale(3.0), low, high))
    assert seen[0].rows == [1, 2, 2, 2, 1, 1]  # the upper end is inside, the lower is not


def test_an_interval_over_everything_is_the_plain_guidance_to_the_bit(pipe):
    made = pipe("a seven", seed=7, guidance=Interval(Scale(3.0))).arrays[0]
    assert np.array_equal(made, pipe("a seven", seed=7, guidance=3.0).arrays[0])
    never = pipe("a seven", seed=7, guidance=Interval(Scale(3.0), 1e5, 1e6)).arrays[0]
    assert np.abs(never - pipe("a seven", seed=7, guidance=1.0).arrays[0]).max() <= 1e-5


def test_an_interval_keeps_each_picture_s_own_prompt(pipe):
    rule = Interval(Scale(3.0), 0.5, 2.0)
    both = pipe(["a seven", "a red apple"], seeds=[3, 4], guidance=rule)
    alone = pipe("a red apple", seed=4, guidance=rule)
    assert np.abs(both.arrays[1] - alone.arrays[0]).max() <= 1e-4


def numbers(low, high):
    return st.floats(low, high, allow_nan=False)


rules = st.recursive(
    st.one_of(
        st.builds(Scale, numbers(0, 100)),
        st.builds(Projected, numbers(0, 100), numbers(0, 1), numbers(0, 100), numbers(-0.9, 0.9)),
    ),
    lambda inner: st.one_of(
        st.builds(Rescaled, inner, numbers(0, 1)),
        st.builds(Interval, inner, numbers(0, 1), st.one_of(st.just(math.inf), numbers(2, 9))),
    ),
    max_leaves=3,
)


@given(rules)
def test_a_recipe_s_words_are_the_same_guidance_again(rule: Guidance):
    assert from_text(rule.scale, to_text(rule)) == rule


def test_the_recipe_tells_the_guidance(pipe):
    rule = Interval(Rescaled(Projected(3.0), 0.5), 0.25, 4.0)
    recipe = pipe("a seven", seed=1, guidance=rule).recipes[0]
    assert recipe.guidance == 3.0
    assert from_text(recipe.guidance, recipe.guidance_rule) == rule
    assert type(recipe).from_parameters(recipe.to_parameters()).guidance_rule == recipe.guidance_rule
    assert pipe("a seven", seed=1).recipes[0].guidance_rule == ""


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_half_precision_answers_are_joined_in_float32_and_rounded_once(dtype):
    """Each way to join answers, beside the same of the same numbers in float32."""
    answers = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(1)).to(dtype)
    phrases = [tuple(Phrase(((),), weight) for weight in (0.9, 0.4))]

    def edited(rows):
        network = lambda x, time, text, pooled: types.SimpleNamespace(sample=rows)
        x, beside = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
        return TwiceGuided(network, Condition(None, None), 7.5, 1.5, beside)(x, torch.zeros(1))

    for join in (
        Mix.of(1, phrases).join,
        edited,
        lambda rows: Scale(7.5).combine(rows[:1], rows[1:2], None, []),
        lambda rows: Rescaled(Scale(0.0), 0.7).combine(rows[:1], rows[1:2], None, []),
    ):
        assert torch.equal(join(answers), join(answers.float()).to(dtype))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Interval(Scale(2.0), 3.0, 1.0), "interval is 3.0 to 1.0; give 0 <= low < high"),
        (lambda: Rescaled(Scale(2.0), 1.5), "share is 1.5; give a number from 0 to 1"),
        (lambda: Projected(2.0, momentum=-1.0), "momentum is -1.0; give a number between -1 and 1"),
        (lambda: from_text(2.0, "sharpen 3"), "'sharpen' is no kind of guidance"),
        (lambda: from_text(2.0, "rescale x"), "'rescale x' makes no sense"),
        (lambda: from_text(2.0, "rescale 0.1 0.2"), "makes no sense"),
        (lambda: from_text(2.0, "rescale 0.7, projected 0"), "projected guidance .* name it first"),
        (lambda: Interval(Scale(2.0)).heeds(None), "depends on the noise level"),
    ],
)
def test_what_makes_no_sense_is_told(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_a_model_without_prompts_takes_no_guidance_of_any_kind():
    from unnoise.pipelines import TextToImage

    with pytest.raises(InputError, match="heeds no prompt"):
        TextToImage(tiny_model(text=False))("", guidance=Rescaled(Scale(2.0), 0.5))
