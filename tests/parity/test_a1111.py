"""Prompts, texts and LoRA names as A1111's web UI itself takes them: `recorded/a1111.json` says how it was asked.

Every comparison is exact but for that of hidden states. What is kept otherwise on purpose stands in docs/prompts.md.
"""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from recorded import extensions, web_ui
from unnoise.checkpoints import layouts, recipes
from unnoise.checkpoints.adapters.places import names_for
from unnoise.checkpoints.blueprint import shapes_of
from unnoise.networks.text_encoder import TextEncoderConfig
from unnoise.networks.unet import published
from unnoise.pipelines import Recipe
from unnoise.pipelines.telling import script
from unnoise.text import Prompt, Tokenizer
from unnoise.text.chunks import chunked
from unnoise.text.prompts import editing, emphasis
from unnoise.text.weighting import Encoded, weighed

THEIRS = json.loads((Path(__file__).parents[1] / "recorded/a1111.json").read_text(encoding="utf-8"))
SAMPLES = {name: chunks for name, chunks, _ in (*web_ui.A1111, *web_ui.KIN, *extensions.EXTENDED)}
CLIP_L = TextEncoderConfig()
OPEN_CLIP = {"heads": 16, "activation": "gelu"}
FAMILIES = {
    "sd1": {"network": published.stable_diffusion_1(), "text_encoder": CLIP_L},
    "sd2": {
        "network": published.stable_diffusion_2(),
        "text_encoder": TextEncoderConfig(width=1024, layers=23, **OPEN_CLIP),
    },
    "sdxl": {
        "network": published.stable_diffusion_xl(),
        "text_encoder": CLIP_L,
        "text_encoder_2": TextEncoderConfig(width=1280, layers=32, projection=1280, **OPEN_CLIP),
    },
}
"""The published sizes."""


def test_enough_prompts_are_recorded():
    tables = ("attention", "schedules", "second_pass", "and", "chunks")
    assert sum(len(THEIRS[table]) for table in tables) >= 140
    assert len(THEIRS["samples"]) + len(THEIRS["samples_read_otherwise"]) == len(SAMPLES)


@pytest.mark.parametrize("prompt", THEIRS["attention"])
def test_texts_and_their_weights(prompt):
    found = [[[piece.text, piece.weight] for piece in part] for part in emphasis.sections(prompt)]
    assert found == THEIRS["attention"][prompt]


def said(prompt, steps, past=0):
    """What is said, and the step, counted from 1, at which it begins to be."""
    tree = editing.read(prompt)
    texts = [editing.resolve(tree, step, steps, past) for step in range(steps)]
    return [[step + 1, text] for step, text in enumerate(texts) if step == 0 or text != texts[step - 1]]


@pytest.mark.parametrize(("prompt", "steps", "expected"), THEIRS["schedules"])
def test_what_is_said_at_each_step(prompt, steps, expected):
    assert said(prompt, steps) == expected


@pytest.mark.parametrize(("prompt", "past", "steps", "expected"), THEIRS["second_pass"])
def test_what_is_said_at_each_step_of_a_second_pass(prompt, past, steps, expected):
    assert said(prompt, steps, past) == expected


@pytest.mark.parametrize(("prompt", "steps", "calls", "past", "expected"), THEIRS["calls"])
def test_what_is_said_at_each_network_call_with_the_values_of_a1111(prompt, steps, calls, past, expected):
    heard = script([Prompt.read(prompt)], [], steps * calls, past * calls, late=True)
    assert [said[0][0].text for _, said in heard] == expected


@pytest.mark.parametrize("prompt", THEIRS["and"])
def test_parts_and_their_weights(prompt):
    expected = THEIRS["and"][prompt]
    parts = Prompt.read(prompt).at(0, 1)
    # their weighed pieces of the texts they take apart; white space at a part's end is no token
    whole = [Prompt.read(text).at(0, 1)[0].sections for text, _ in expected]
    assert [part.weight for part in parts] == [weight for _, weight in expected]
    assert [trimmed(part.sections) for part in parts] == [trimmed(sections) for sections in whole]


def trimmed(sections):
    texts = [[(piece.text, piece.weight) for piece in part] for part in sections]
    if texts[-1]:
        text, weight = texts[-1].pop()
        texts[-1] += [(text.rstrip(), weight)] if text.strip() else []
    return texts


@pytest.mark.parametrize("prompt", THEIRS["chunks"])
def test_chunks_of_tokens_and_the_weight_of_each(prompt):
    found = chunked(Tokenizer(), emphasis.sections(prompt), 75, "a1111")
    assert [[token.id for token in chunk] for chunk in found] == [
        spread(ids) for ids, _ in THEIRS["chunks"][prompt]
    ]
    assert [[token.weight for token in chunk] for chunk in found] == [
        spread(weights) for _, weights in THEIRS["chunks"][prompt]
    ]


def spread(runs):
    """[a, [b, 2]] as [a, b, b]."""
    return [one for run in runs for one in ([run[0]] * run[1] if isinstance(run, list) else [run])]


@pytest.mark.parametrize("case", THEIRS["emphasis"])
def test_hidden_states_with_weights_keep_their_mean(case):
    """Both in float32, recorded to seven digits."""
    hidden, weights = torch.tensor([case["z"]]), torch.tensor([case["weights"]], dtype=torch.float32)
    nothing = torch.zeros(1, 6, dtype=torch.int64)
    found = weighed(
        "a1111", Encoded(hidden, weights, None, nothing, (nothing, None), [], lambda ids, seen: hidden)
    )
    torch.testing.assert_close(found, torch.tensor([case["out"]]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", THEIRS["samples"])
def test_texts_of_other_programs_are_read_alike(name):
    found = recipes.read_chunks(SAMPLES[name])
    prompt, negative, *told = THEIRS["samples"][name]
    settings = dict(zip(THEIRS["fields"][2:], told, strict=True))
    if "Raw prompt" not in SAMPLES[name]["parameters"]:
        assert lines(found.prompt) == lines(prompt)
    assert lines(found.negative) == lines(negative)
    for value, field in (
        (found.steps, "Steps"),
        (found.guidance, "CFG scale"),
        (found.seed, "Seed"),
        (found.width, "Size-1"),
        (found.height, "Size-2"),
    ):
        assert settings[field] is None or value == float(settings[field]), field
    assert found.sampler == settings["Sampler"] or settings["Sampler"] is None
    assert found.model == settings["Model"] or settings["Model"] is None
    assert found.model_hash == settings["Model hash"] or settings["Model hash"] is None


@pytest.mark.parametrize(("made", "text", "read"), THEIRS["texts"])
def test_our_texts_are_written_as_they_were_read_there_and_come_back(made, text, read):
    recipe = Recipe(**made)
    assert recipe.to_parameters() == text
    again = Recipe.from_parameters(text)
    assert (again.prompt, again.negative, again.model) == (recipe.prompt, recipe.negative, recipe.model)
    assert read["Model"] == recipe.model
    assert read["Version"] == f"unnoise {recipe.version}"
    assert lines(read["Negative prompt"]) == lines(recipe.negative)
    assert lines(read.get("Raw prompt", read["Prompt"])) == lines(recipe.prompt)
    shown = [read[field] for field in ("Steps", "Seed", "Size-1", "Size-2", "CFG scale")]
    assert [float(value) for value in shown] == [
        recipe.steps,
        recipe.seed,
        recipe.width,
        recipe.height,
        recipe.guidance,
    ]


def lines(text):
    return [line.strip() for line in text.strip().split("\n")]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_of_a_full_size_lora_is_found_by_its_name(family):
    """Their module for each of our names is that of the layer in the original layout; nothing is left over.

    But for the projection of SDXL's second text encoder, which no training tool touches, ours neither.
    """
    parts, recorded = FAMILIES[family], THEIRS["lora"][family]
    found = {
        name: module(family, parts, place)
        for place, name in names_for(parts).items()
        if name != "lora_te2_text_projection"
    }
    assert {name: found[name] for name in recorded["some"]} == recorded["some"]
    assert len(found) == len(set(found.values())) == recorded["layers"]
    told = "\n".join(sorted(f"{name} {place}" for name, place in found.items()))
    assert hashlib.sha256(told.encode()).hexdigest() == recorded["sha256"]


def module(family, parts, place):
    """The layer's path in a single file, its parts joined by `_`, and which third of queries, keys and values."""
    linear = family != "sd1"
    layout = {
        "network": lambda: layouts.unet.original(parts["network"], linear, prefix="diffusion_model."),
        "text_encoder_2": lambda: layouts.text.open_clip("1.model."),
        "text_encoder": lambda: {
            "sd1": layouts.text.transformers("transformer."),
            "sd2": layouts.text.open_clip("model."),
            "sdxl": layouts.text.transformers("0.transformer."),
        }[family],
    }[place.part]()
    names = layout.source(place.name).names
    rows = shapes_of(parts[place.part])[place.name][0]
    path = names[place.start * len(names) // rows].removesuffix(".weight")
    if path.endswith(".in_proj_weight"):
        path = path.replace("in_proj_weight", "qkv"[3 * place.start // rows] + "_proj")
    return path.replace(".", "_")
