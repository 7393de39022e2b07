"""Prompts of more than 75 tokens beside diffusers, which is fed with the states of its encoders, chunk by chunk."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import miniature_sd
from unnoise.pipelines import load
from unnoise.schedulers import names

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.parity

LONG = ("red " * 75, "apple " * 30)
NEGATIVE = ("blurry", "the sea")


@pytest.fixture(scope="module", params=["sd1", "sd2", "sdxl"])
def saved(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    pipe = miniature_sd.pipeline(request.param, folder)
    return pipe, miniature_sd.save(pipe, folder / "model")


@torch.no_grad()
def embedded(pipe, chunks):
    """Their encoders' states of each chunk, one after the other, as their pipeline takes them; pooled of the first."""
    towers = [(pipe.tokenizer, pipe.text_encoder)]
    xl = hasattr(pipe, "text_encoder_2")
    if xl:
        towers.append((pipe.tokenizer_2, pipe.text_encoder_2))
    hidden, pooled = [], None
    for tokenizer, encoder in towers:
        states = []
        for text in chunks:
            ids = tokenizer(text, padding="max_length", max_length=77, return_tensors="pt").input_ids
            made = encoder(ids, output_hidden_states=True)
            states.append(made.hidden_states[-2] if xl else made.last_hidden_state)
            if xl and tokenizer is pipe.tokenizer_2 and pooled is None:
                pooled = made.text_embeds
        hidden.append(torch.cat(states, dim=1))
    return torch.cat(hidden, dim=-1), pooled


def test_a_picture_of_two_chunks_is_diffusers_picture_of_their_embeddings(saved):
    pipe, folder = saved
    latents = torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(1))
    (prompt, pooled), (negative, negative_pooled) = embedded(pipe, LONG), embedded(pipe, NEGATIVE)
    more = {"pooled_prompt_embeds": pooled, "negative_pooled_prompt_embeds": negative_pooled}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = pipe(
            prompt_embeds=prompt,
            negative_prompt_embeds=negative,
            num_inference_steps=5,
            guidance_scale=5.0,
            latents=latents,
            output_type="np",
            **({} if pooled is None else more),
        ).images[0]
    config = {**pipe.scheduler.config, "_class_name": type(pipe.scheduler).__name__}
    options = {
        "steps": 5,
        "guidance": 5.0,
        "scheduler": names.from_config(config, compat="diffusers").scheduler,
    }
    ours = load(folder)
    made = ours("".join(LONG), negative=" BREAK ".join(NEGATIVE), latents=latents, **options)
    assert np.abs(made.arrays[0] - wanted).max() <= 2e-5
    assert made.notes == ()
    # the words after the 75th are heeded, where other programs cut them off
    other = ours("".join(LONG) + "table", negative=" BREAK ".join(NEGATIVE), latents=latents, **options)
    assert np.abs(made.arrays[0] - other.arrays[0]).max() > 1e-4
    # beside a shorter prompt it is the same picture, and so is the shorter one
    both = ours(
        ["".join(LONG), "a red apple"],
        negative=[" BREAK ".join(NEGATIVE), ""],
        latents=torch.cat([latents, latents]),
        **options,
    )
    assert np.abs(both.arrays[0] - wanted).max() <= 2e-5
    alone = ours("a red apple", latents=latents, **options)
    assert np.abs(both.arrays[1] - alone.arrays[0]).max() <= 2e-5
