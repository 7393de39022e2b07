"""Weights beside compel 2.5.1: the same prompts through its parser and its rule, on the same random CLIP encoder."""

import random
import re
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
    "a(cold)0.3 night,, (dark - cold)0.5 (deep...)0.7, f/1.8+ (a (b)0.4c)1.2",
]
WORDS = [
    "a", "red", "hot-dog", " ", " ", " ", ", ", ",", ".", ". ", "(", ")", "(cold)", "(a b)", "+", "++", "-", "--",
    "(x)1.3", "(y)0.3", "(z)+", "(q)--", "1.2", '"', '"a b"+', r"\(", r"\)", r"\"", "\\", "\u00e9", "\u65e5", "\n", "'",
    ":", ";", "withLora(ink)", "withLora(ink, 0.8)", "useLora(a-b,.5)", ".attend(1.2)", ".attend(+)", "=", "1e3",
    "(p)-1", "(p)1.", "(p).5", "word+", "word--", ",,", "{", "[b]", "|", "\U0001f600",
]  # fmt: skip
KEPT = re.compile(r"\\[,.+\-=]")
"""A backslash before these stays in compel's words; here it goes, as before a bracket."""


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


def weighed_tokens(pieces):
    return [(token, pytest.approx(weight)) for text, weight in pieces for token in Tokenizer().encode(text)]


def test_random_prompts_have_the_words_weights_and_loras_of_compel():
    parser, draw = compel.PromptParser(), random.Random(1)
    prompts = ("".join(draw.choices(WORDS, k=draw.choice([1, 2, 3, 5, 10]))) for _ in range(500))
    for prompt in prompts:
        theirs = parser.parse_conjunction(prompt)
        if not theirs.prompts or KEPT.search(prompt):
            continue
        ours = Prompt.read(prompt, "compel")
        pieces = [(piece.text, piece.weight) for piece in ours.at(0, 1)[0].sections[0]]
        wanted = [(one.text, one.weight) for one in theirs.prompts[0].children]
        assert weighed_tokens(pieces) == weighed_tokens(wanted), prompt
        assert [(one.name, one.network) for one in ours.loras] == [
            (one.model, one.weight) for one in theirs.lora_weights
        ]
