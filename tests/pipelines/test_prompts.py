"""What a prompt's syntax does to a run: each claim by a second route that is made by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from latent_model import latent_model
from tiny_model import tiny_model, tokenizer
from unnoise.errors import InputError
from unnoise.networks import TextEncoder, TextEncoderConfig
from unnoise.pipelines import Condition, Guided, Recipe, TextToImage
from unnoise.pipelines.prompting import Embedder, embedded
from unnoise.pipelines.telling import KEPT, Telling
from unnoise.process import Diffuser
from unnoise.randomness import NoiseSource, normal
from unnoise.schedulers import names
from unnoise.text import Phrase, Prompt

STEPS = 6


def apart(a, b):
    return float(np.abs(np.asarray(a) - np.asarray(b)).max())


def by_hand(model, scheduler, prompt_of, guidance=2.0, seed=7):
    """The samples after each step, where step i is told `prompt_of(i)`, with the loop written out."""
    plan = names.get(scheduler).plan(model.schedule, STEPS)
    now = {"step": 0}

    def estimate(x, level):
        condition = Condition.of(model, [prompt_of(now["step"])], [""])
        network = Guided(model.network, condition, guidance)
        return Diffuser(network, model.schedule, model.prediction, model.variance, model.clip).estimate(
            x, level
        )

    x = plan.initial(NoiseSource((seed,))("start", like=torch.empty(1, *model.shape)))
    found = []
    with torch.inference_mode():
        for step in plan.run(estimate, x, NoiseSource((seed,))):
            now["step"] += 1
            found.append(step.x)
    return found


@pytest.mark.parametrize("scheduler", ["Euler", "DPM++ 2M", "Heun", "UniPC", "Euler a"])
@pytest.mark.parametrize(
    ("prompt", "prompt_of"),
    [
        ("a [seven:red apple:0.5]", lambda i: "a seven" if i < 3 else "a red apple"),
        ("a [seven:red apple:2]", lambda i: "a seven" if i < 2 else "a red apple"),
        ("a [seven::0.34]", lambda i: "a seven" if i < 2 else "a "),
        ("a [seven|red apple]", lambda i: ("a seven", "a red apple")[i % 2]),
        ("[a seven|a red apple|two]", lambda i: ("a seven", "a red apple", "two")[i % 3]),
    ],
)
def test_a_prompt_changes_at_its_step(pipe, scheduler, prompt, prompt_of):
    found = [step.x for step in pipe.denoise(prompt, steps=STEPS, seed=7, scheduler=scheduler)]
    wanted = by_hand(pipe.model, scheduler, prompt_of)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)
    assert apart(wanted[-1], by_hand(pipe.model, scheduler, lambda _: prompt_of(0))[-1]) > 1e-3


def test_until_it_changes_the_run_is_that_of_the_first_prompt(pipe):
    options = {"steps": STEPS, "seed": 7, "scheduler": "DPM++ 2M"}
    both = [step.x for step in pipe.denoise("[a seven:a red apple:0.5]", **options)]
    first = [step.x for step in pipe.denoise("a seven", **options)]
    assert [torch.equal(a, b) for a, b in zip(both, first, strict=True)] == [True] * 3 + [False] * 3


def test_a_negative_prompt_changes_too(pipe):
    options = {"steps": STEPS, "seed": 7, "scheduler": "Euler"}
    both = [step.x for step in pipe.denoise("a seven", negative="[red:two:0.5]", **options)]
    first = [step.x for step in pipe.denoise("a seven", negative="red", **options)]
    assert [torch.equal(a, b) for a, b in zip(both, first, strict=True)] == [True] * 3 + [False] * 3


def answers(model, words, x, time):
    return Guided(model.network, Condition.of(model, [words]), 1.0)(x, time)


@torch.no_grad()
@pytest.mark.parametrize("guidance", [0.0, 0.5, 1.0, 3.0])
def test_and_is_the_weighed_sum_of_separate_differences(guidance):
    model = tiny_model()
    x, time = normal(0, "x", shape=(2, 1, 8, 8)), torch.tensor([0.3, 0.8])
    said = [Prompt.read(text).at(0, 1) for text in ("a seven AND red :0.5 AND two:-1.5", "the apple")]
    without = answers(model, "number", x, time)
    seven, red, two, apple = (
        answers(model, words, x, time) for words in ("a seven", "red", "two", "the apple")
    )
    wanted = torch.stack(
        [
            without[0]
            + guidance * (1.0 * (seven - without) + 0.5 * (red - without) - 1.5 * (two - without))[0],
            without[1] + guidance * (apple - without)[1],
        ]
    )
    condition = Condition.of(model, said, ["number", "number"])
    if guidance == 1.0:
        condition = condition.rows([2, 3])
    found = Guided(model.network, condition, guidance)(x, time)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_a_whole_run_of_joined_prompts_is_the_run_of_that_sum(pipe, guidance):
    model = pipe.model
    weights = {"a seven": 1.0, "red": 0.5}

    def network(x, time):
        without = answers(model, "two", x, time)
        return without + guidance * sum(
            w * (answers(model, words, x, time) - without) for words, w in weights.items()
        )

    plan = names.get("DPM++ 2M").plan(model.schedule, STEPS)
    x = plan.initial(NoiseSource((7,))("start", like=torch.empty(1, *model.shape)))
    with torch.inference_mode():
        diffuser = Diffuser(network, model.schedule, model.prediction, model.variance, model.clip)
        *_, last = plan.run(diffuser.estimate, x)
    options = {"negative": "two", "guidance": guidance, "steps": STEPS, "seed": 7, "scheduler": "DPM++ 2M"}
    *_, found = pipe.denoise("a seven AND red:0.5", **options)
    torch.testing.assert_close(found.x, last.x, atol=1e-5, rtol=0)


def plan_of(pipe, request):
    return request.scheduler.plan(pipe.model.schedule, request.steps)


def test_weights_of_one_share_need_no_negative_prompt(pipe):
    """At guidance 1, 0.5 a + 0.5 b asks for a and b and nothing else."""
    request = pipe.denoise("a seven:0.5 AND red:0.5", guidance=1.0, steps=2, seed=1).request
    condition = Telling(pipe.model, request, plan_of(pipe, request), guided=False).at(0)
    assert condition.mix.pictures == (0, 0)
    assert condition.mix.shares.tolist() == [[0.5, 0.5]]


PROMPTS = [
    "a seven AND red:0.5 AND two",
    "a (seven:1.4)",
    "[a|the] red apple",
    "a seven BREAK the red apple BREAK two",
    "the number",
]


def test_each_picture_of_a_mixed_batch_is_the_one_made_alone(pipe):
    """Prompts of different lengths share a batch: the shorter are filled up and the filling is not read."""
    together = pipe(PROMPTS, steps=STEPS, seed=3).arrays
    for place, prompt in enumerate(PROMPTS):
        assert apart(together[place], pipe(prompt, steps=STEPS, seed=3 + place).arrays[0]) <= 1e-4
    plain = pipe("a seven the red apple two", steps=STEPS, seed=6).arrays[0]
    assert apart(together[3], plain) > 1e-3


def test_a_weight_moves_the_picture_and_plain_style_does_not_read_it(pipe):
    options = {"steps": STEPS, "seed": 3}
    plain = pipe("a seven", **options).arrays[0]
    assert apart(pipe("a (seven:1.4)", **options).arrays[0], plain) > 1e-4
    assert apart(pipe("a (seven:1.0)", **options).arrays[0], plain) == 0.0
    untouched = pipe("a (seven:1.4)", prompt_style="plain", **options)
    assert untouched.notes == ("the prompt has words that the model never saw: (, : 1 . 4 )",)


def test_recipes_say_in_which_style_a_prompt_is_written(pipe):
    (recipe,) = pipe("a seven++", prompt_style="compel", steps=2, seed=1).recipes
    assert recipe.prompt_style == "compel"
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert Recipe.from_parameters(recipe.to_parameters()).prompt_style == "compel"
    assert "style" not in pipe("a seven", steps=2).recipes[0].to_parameters()


def test_a_lora_that_nothing_loads_is_refused(pipe):
    with pytest.raises(
        InputError, match=r"asks for the LoRA 'ink' \('<lora:ink:0.8>'\), which is not loaded"
    ):
        pipe("a seven <lora:ink:0.8>", steps=2)


def test_notes_of_reading_and_of_every_moment_are_told_before_the_first_step(pipe):
    run = pipe.denoise("a <style:x> [seven:purple:0.5]", negative="<lora:ink:1>", steps=2)
    assert run.notes[:2] == (
        "<lora:ink:1> in a negative prompt is read as words; put it in the prompt",
        "the tag '<style:x>' is none that unnoise knows; it is left out",
    )
    assert "the prompt has words that the model never saw: purple" in run.notes


def test_few_conditions_are_kept_and_those_that_return_are_not_made_again(pipe):
    request = pipe.denoise("[a|red|the]" + "[two:seven:9]", steps=20, seed=1).request
    telling = Telling(pipe.model, request, plan_of(pipe, request), guided=True)
    conditions = [telling.at(step) for step in range(20)]
    assert conditions[0] is conditions[3]
    assert len({id(condition) for condition in conditions}) == 6
    assert len(telling._kept) == KEPT


def test_a_model_without_words_still_takes_the_empty_prompt():
    pipe = TextToImage(tiny_model(text=False))
    assert pipe("", steps=2, seed=1).notes == ()
    with pytest.raises(InputError, match="heeds no prompt"):
        pipe("(a)", steps=2)


@pytest.mark.parametrize("make", [tiny_model, latent_model])
def test_captions_say_what_prompts_say(make):
    """Training and likelihoods read them after the layer at which runs do, each once, in the order given."""
    config = TextEncoderConfig.small(tokenizer().size, tokenizer().end, width=16, layers=2)
    model = replace(make(), text_encoder=TextEncoder(config).eval(), text_skip=1)
    captions, alone = ["a seven", "the number two", "a seven"], Embedder(model)
    with torch.no_grad():
        told = model.conditioning(embedded(model, captions))
        for row, caption in enumerate(captions):
            said = alone(Phrase.plain(caption))
            torch.testing.assert_close(told["text"][row], said.hidden[0], atol=1e-6, rtol=0)
            assert torch.equal(told["text_mask"][row], said.mask[0])
