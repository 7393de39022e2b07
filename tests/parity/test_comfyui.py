"""Beside ComfyUI: what its own code made of our inputs, in `recorded/comfyui.json`.

Recorded from ComfyUI 0.3.64 (commit a125cd84b054a57729b5eecab930ca9408719832) on torch 2.13, float32, without a
card, by giving what `comfyui_inputs` holds to its functions: `SDTokenizer.tokenize_with_weights` (with the tokenizer
that it ships, and embeddings of one number each), `SDClipModel.encode_token_weights`, `model_lora_keys_unet`,
`model_lora_keys_clip`, `load_lora`, `calculate_weight`, `model_config_from_unet`, `calculate_sigmas`, the samplers of
`k_diffusion/sampling.py` and (in float64) `uni_pc.py` at `KSampler`'s sigmas; and by reading the state dicts of its own
networks. Lists are kept as beginnings of SHA-256, weights and samples as two numbers each.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import comfyui_inputs as given
from unnoise import checkpoints
from unnoise.checkpoints import adapters, layouts
from unnoise.checkpoints.adapters import places, writing
from unnoise.checkpoints.blueprint import shapes_of
from unnoise.checkpoints.kinds import UNET, VAE
from unnoise.errors import InputError
from unnoise.pipelines import load
from unnoise.pipelines.request import check
from unnoise.pipelines.strength import entered
from unnoise.process import DiscreteVP, Estimate
from unnoise.process import prediction as predictions
from unnoise.schedulers import names
from unnoise.schedulers.step import Request
from unnoise.text import Prompt, TaughtTokenizer, Tokenizer, embed_phrase
from unnoise.text.chunks import chunked

pytestmark = pytest.mark.parity
RECORDED = json.loads((Path(__file__).parents[1] / "recorded" / "comfyui.json").read_text())


def short(text):
    return hashlib.sha256(text.encode()).hexdigest()


class Taught(TaughtTokenizer):
    """A word is one where it is named alone: ComfyUI looks for no words in the text, we do."""

    pieces = Tokenizer.pieces


def tokens(tokenizer, prompt):
    """Ids and weights of every chunk, start, end and padding too, as one text."""
    (phrase,) = Prompt.read(prompt, "comfyui").at(0, 1)
    rows = []
    for chunk in chunked(tokenizer, phrase.sections, 75, "comfyui"):
        row = [(tokenizer.start, 1.0), *((token.id, token.weight) for token in chunk), (tokenizer.end, 1.0)]
        rows += row + [(tokenizer.padding, 1.0)] * (77 - len(row))
    return " ".join(f"{token}:{weight:.12g}" for token, weight in rows)


def test_four_thousand_prompts_have_comfyui_s_tokens_weights_and_chunks():
    tokenizer = Tokenizer()
    for word, vectors in given.TAUGHT.items():
        tokenizer = Taught.with_word(tokenizer, word, vectors)
    prompts, recorded = given.prompts(4000), RECORDED["prompts"]
    assert len(recorded) == 3 * len(prompts)
    wrong, refused = [], []
    for place, prompt in enumerate(prompts):
        try:
            found = short(tokens(tokenizer, prompt))[:3]
        except InputError as error:
            refused.append(str(error))
            continue
        if found != recorded[3 * place : 3 * place + 3]:
            wrong.append(prompt)
    assert wrong == []
    # there a weight of eleven millions goes through
    assert len(refused) == 2
    assert all("; give one from -100 to 100" in message for message in refused)


@pytest.mark.parametrize("name", given.ENCODERS)
def test_weighed_embeddings_are_comfyui_s(name):
    settings, padding, skip = given.ENCODERS[name]
    encoder, tokenizer = given.encoder(**settings), Tokenizer(padding=padding)
    along = given.wave((32,), 5, 1.0).double()
    for prompt, (hidden, pooled) in zip(given.WEIGHED, RECORDED["embeddings"][name], strict=True):
        (phrase,) = Prompt.read(prompt, "comfyui").at(0, 1)
        found = embed_phrase(encoder, tokenizer, phrase, "comfyui", skip)
        wanted = torch.tensor(hidden).double()
        # float32, and six digits are kept of sums of 32 states
        worst = (found.hidden[0].double() @ along - wanted).abs().max()
        assert worst <= 1e-5 * wanted.abs().max()
        if pooled:
            torch.testing.assert_close(found.pooled[0], torch.tensor(pooled), rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module", params=given.MINIATURES)
def miniature(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("comfyui") / "model.safetensors"
    return request.param, checkpoints.load(given.checkpoint(request.param, path))


@pytest.mark.parametrize("kind", given.KINDS)
def test_adapters_are_merged_as_comfyui_merges_them(miniature, tmp_path, kind):
    family, model = miniature
    recorded = RECORDED["merged"][f"{family}: {kind}"]
    path = given.adapter(model, kind, tmp_path / "ink.safetensors", family == "SD 1")
    assert recorded["not loaded"] == 0
    merged = adapters.adapt(model, [(path, given.STRENGTHS.get(kind, 0.8))])
    changes, rows = changes_of(model, path), []
    for place in given.layers(model, kind):
        before, after = (
            one.parts[place.part].get_parameter(place.name)[place.rows] for one in (model, merged)
        )
        if kind == "DoRA":
            after = as_comfyui_turns(before, after, changes[place])
        rows += given.weighty(after)
    assert len(rows) == len(recorded["weights"])
    torch.testing.assert_close(torch.tensor(rows), torch.tensor(recorded["weights"]), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("kind", ["LoRA", "DoRA"])
def test_what_is_written_is_the_file_that_comfyui_was_given(miniature, tmp_path, kind):
    family, model = miniature
    path = given.adapter(model, kind, tmp_path / "ink.safetensors", family == "SD 1")
    again = writing.write(tmp_path / "again.safetensors", model, changes_of(model, path))
    written, wanted = load_file(again), load_file(path)
    assert written.keys() == wanted.keys()
    assert all(torch.equal(written[name], tensor) for name, tensor in wanted.items())


def changes_of(model, path):
    known = places.places(places.parts_of(model))
    return {known[layer]: change for layer, change in adapters.read(path).changes.items()}


def as_comfyui_turns(before, after, change):
    """DoRA of rows: ComfyUI divides by the norms that the rows had before they were moved (docs/fine-tune.md)."""
    moved = before + change.delta(tuple(before.shape))
    norms = [torch.linalg.vector_norm(rows.flatten(1), dim=1) for rows in (before, moved)]
    return after * (norms[1] / norms[0]).view(-1, *(1,) * (after.ndim - 1))


@pytest.mark.parametrize("name", RECORDED["keys"])
def test_each_layer_of_a_lora_reaches_the_weight_of_comfyui_that_is_meant(name):
    unet, texts = given.full(name)
    network = layouts.unet.original(unet, name != "SD 1.5", prefix="diffusion_model.")
    towers = {"SD 2.1": ["clip_h"]}.get(name, ["clip_l", "clip_g"])
    each = {"network": network} | {
        part: layouts.text.transformers(f"{tower}.transformer.")
        for part, tower in zip(texts, towers, strict=False)
    }
    named = places.names_for({"network": unet} | {part: config for part, (config, _) in texts.items()})
    assert len(RECORDED["keys"][name]) == 4 * len(named)
    wrong = []
    for number, (place, key) in enumerate(named.items()):
        sources = each[place.part].source(place.name).names
        weight = sources[place.start // place.shape[0]]
        if short(f"{key} {weight}")[:4] != RECORDED["keys"][name][4 * number : 4 * number + 4]:
            wrong.append((key, weight))
    assert wrong == []


KINDS = {
    "SD 1.5": "SD15",
    "SD 1.5 inpainting": "SD15",
    "SD 1.5 instruct-pix2pix": "SD15_instructpix2pix",
    "SD 2.1": "SD20",
    "SD 2.1 inpainting": "SD20",
    "SDXL": "SDXL",
    "SDXL inpainting": "SDXL",
    "SDXL instruct-pix2pix": "SDXL_instructpix2pix",
    "SDXL refiner": "SDXLRefiner",
}


def listing(shapes):
    return short("\n".join(f"{name} {tuple(shape)}" for name, shape in sorted(shapes.items())))


@pytest.mark.parametrize("name", KINDS)
def test_a_converted_file_is_what_comfyui_takes_it_for_and_has_all_that_its_networks_want(name):
    recorded, file = RECORDED["recognised"][name], given.single(name)
    assert recorded["kind"] == KINDS[name]
    assert recorded["extra channels"] == (["mask", "masked_image"] if "inpainting" in name else [])
    assert recorded["latent scale"] == (0.13025 if "XL" in name else 0.18215)
    for part, prefix in (("unet", UNET), ("autoencoder", VAE)):
        inside = {key.removeprefix(prefix): shape for key, shape in file.items() if key.startswith(prefix)}
        assert listing(inside) == recorded[part]
    # the text encoders' names are changed there: queries, keys and values are parted, projections turned
    _, texts = given.full(name)
    towers = ["clip_h"] if name.startswith("SD 2") else ["clip_l", "clip_g"][-len(texts) :]
    towers = ["clip_l"] if name.startswith("SD 1") else towers
    wanted = {}
    for tower, (config, _) in zip(towers, texts.values(), strict=True):
        wanted |= layouts.text.transformers(f"{tower}.transformer.").shapes(shapes_of(config))
    assert listing(wanted) == recorded["text"]
    assert {key.rpartition(".transformer.")[2] for key in recorded["not in our file"]} <= {
        "text_projection.weight",
        "clip_l.logit_scale",
        "clip_h.logit_scale",
        "clip_g.logit_scale",
    }


def test_comfyui_takes_our_mark_of_velocity_for_one_in_xl():
    found = {name: RECORDED["recognised"][name] for name in ("SDXL", "SDXL inpainting")}
    assert {one["prediction"] for one in found.values()} == {"EPS"}
    assert {one["with v_pred"] for one in found.values()} == {"V_PREDICTION"}
    assert all(one["zero terminal SNR with ztsnr"] for one in found.values())


@pytest.mark.parametrize("grid", given.GRIDS)
def test_levels_are_comfyui_s(grid):
    for count in given.COUNTS:
        plan = names.get("euler", compat="comfyui", grid=grid).plan(DiscreteVP.scaled_linear(), count)
        levels = torch.tensor([float(level.ratio) for level in plan.levels])
        # KL optimal is worked out in float32 there
        torch.testing.assert_close(
            levels, torch.tensor(RECORDED["sigmas"][f"{grid} {count}"]), rtol=2e-6, atol=0
        )


@pytest.mark.parametrize("sampler", given.SAMPLERS)
def test_samples_are_comfyui_s_from_the_same_noise(sampler):
    noise = predictions.get("noise")
    for grid, count in given.RUNS:
        plan = names.get(sampler, compat="comfyui", grid=grid).plan(DiscreteVP.scaled_linear(), count)
        draw = given.draws()

        def estimate(x, level, plan=plan):
            return Estimate(x, level, given.network(x, plan.schedule.network_time(level)), noise)

        found = walked(plan, given.wave(given.SHAPE, 999, 2.0**0.5).double(), estimate, draw)
        wanted = RECORDED["samples"][f"{sampler} {grid} {count}"]
        # their sigmas are float32
        assert given.weighty(found) == pytest.approx(wanted, rel=1e-5, abs=1e-5 * wanted[1])


@pytest.mark.parametrize("entry", given.ENTERED, ids=repr)
def test_a_picture_is_entered_where_comfyui_enters_it(entry):
    sampler, grid, steps, strength = entry
    ask = {"steps": steps, "scheduler": f"{sampler} {grid}", "compat": "comfyui"}
    request = check(load("digits").model, "", **ask)
    plan, _ = entered(request, DiscreteVP.scaled_linear(), strength, None)
    wanted = RECORDED["entered"][" ".join(map(str, entry))]
    assert [float(level.ratio) for level in plan.levels] == pytest.approx(wanted, rel=2e-6)


def walked(plan, x, estimate, draw):
    """The last state of a run."""

    class Draws:
        seeds = (0,)

        def __call__(self, *args, like=None, **options):
            return draw()

    walk = plan.walk(x, Draws())
    event = next(walk)
    while event is not None:
        last = event
        event = walk.send(estimate(event.x, event.level)) if isinstance(event, Request) else next(walk, None)
    return last.x
