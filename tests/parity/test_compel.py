"""Weights beside compel 2.5.1: the same prompts through its parser and its rule, on the same random CLIP encoder."""

import warnings

import pytest
import torch

import miniature_sd
from unnoise.checkpoints import layouts
from unnoise.networks.text_encoder import TextEncoder, TextEncoderConfig
from unnoise.text import Prompt, Tokenizer, embed_phrase

compel = pytest.importorskip("compel")
pytestmark = pytest.mark.parity

PROMPTS = [
    "a red apple",
    "a red+ apple",
    "a red++ apple--",
    "a (red apple)1.4 on (a table)-",
    "a (red (apple)1.5)1.2, (blue)0.3, (green)0.8",
    "(red)0.0 apple",
    '"a red apple"++ on a hot-dog',
    "a (red).attend(0.6) apple.attend(+)",
    "a badly (formed prompt",
    r"\(red\)+ apple",
    "(red apple)+; (blue)-! red+! (green)-5",
    "red " * 40 + "apple. " + "(blue)1.3 " * 50,
    "(red)0.6 " * 60 + "apple, " + "blue " * 30,
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """compel over transformers' encoder, and ours with the same weights."""
    torch.manual_seed(0)
    ours = (
        TextEncoder(TextEncoderConfig(width=64, expansion=2, layers=3, heads=1)).eval().requires_grad_(False)
    )
    torch.nn.init.normal_(ours.token_embedding.weight, std=0.5)
    miniature_sd.stir(ours)
    theirs = miniature_sd.text_encoder("quick_gelu").eval()
    theirs.load_state_dict(layouts.spread(layouts.text.transformers(text_model=False), ours.state_dict()))
    tokenizer = miniature_sd.tokenizer(tmp_path_factory.mktemp("words"), -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compel.Compel(tokenizer, theirs, truncate_long_prompts=False), ours


@pytest.mark.parametrize("prompt", PROMPTS)
def test_embeddings_are_those_of_compel(pair, prompt):
    theirs, ours = pair
    wanted = theirs(prompt)
    phrase = Prompt.read(prompt, "compel").at(0, 1)[0]
    found = embed_phrase(ours, Tokenizer(), phrase, "compel").hidden
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() <= 1e-5
