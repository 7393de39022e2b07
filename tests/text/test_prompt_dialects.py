"""ComfyUI's and compel's ways to write weights."""

import numpy as np
import pytest
import torch

from unnoise.errors import InputError
from unnoise.networks import TextEncoder, TextEncoderConfig
from unnoise.text import LoraTag, Prompt, TaughtTokenizer, Tokenizer, embed_phrase
from unnoise.text.chunks import chunked

clip = Tokenizer()


def words(text, style):
    """Single words with their weights, whatever the space around them."""
    (phrase,) = Prompt.read(text, style).at(0, 1)
    return [(word, p.weight) for section in phrase.sections for p in section for word in p.text.split()]


COMFYUI = {
    "a (red) apple": [("a", 1), ("red", 1.1), ("apple", 1)],
    "((red))": [("red", 1.1**2)],
    "(red:1.3)": [("red", 1.3)],
    # a number replaces what surrounds it, and brackets in it multiply that
    "((red:1.5))": [("red", 1.5)],
    "((red) blue:1.5)": [("red", 1.5 * 1.1), ("blue", 1.5)],
    "(red:x)": [("red:x", 1.1)],
    r"\(red\)": [("(red)", 1)],
    "[red] BREAK AND": [("[red]", 1), ("BREAK", 1), ("AND", 1)],
    "(red": [("(red", 1)],
    "red) (blue)": [("red)", 1), ("(blue)", 1)],
}
COMPEL = {
    "fire flames": [("fire", 1), ("flames", 1)],
    "fire (flames)": [("fire", 1), ("flames", 1)],
    "fire flames++": [("fire", 1), ("flames", 1.1**2)],
    "fire-- flames": [("fire", 0.9**2), ("flames", 1)],
    "(fire flames)0.5": [("fire", 0.5), ("flames", 0.5)],
    "(fire).5 x": [("fire", 0.5), ("x", 1)],
    '"fire flames"+': [("fire", 1.1), ("flames", 1.1)],
    "(fire).attend(1.3) flames.attend(--)": [("fire", 1.3), ("flames", 0.9**2)],
    "fire (flames (trees)1.5)2.0": [("fire", 1), ("flames", 2), ("trees", 3)],
    "(pretty flowers)+, hot": [("pretty", 1.1), ("flowers", 1.1), (",", 1), ("hot", 1)],
    "fire,flames+": [("fire,", 1), ("flames", 1.1)],
    "hot-dog c+b": [("hot-dog", 1), ("c+b", 1)],
    "a badly formed +test prompt": [(w, 1) for w in ["a", "badly", "formed", "+test", "prompt"]],
    "a badly (formed test": [(w, 1) for w in ["a", "badly", "(formed", "test"]],
    "(((a badly (formed +test )prompt": [(w, 1) for w in ["(((a", "badly", "formed", "+test", "prompt"]],
    r"\(fire\)+": [("(fire)", 1.1)],
    r"fire\+": [("fire+", 1)],
    r"fire\x \fire": [(r"fire\x", 1), (r"\fire", 1)],
    "a(cold)0.3 f/1.8+": [("a(cold)0.3", 1), ("f/1.8+", 1)],
    "(a(cold)0.3 fire+ b+!)2": [("a", 2), ("cold", 0.6), ("fire", 1.1 * 2), ("b+!", 2)],
    "(dark - cold)1.2 (a=b)-": [("(dark", 1), ("-", 1), ("cold)1.2", 1), ("(a=b)-", 1)],
    "red+.5 (cold)+.5": [("red", 1.1), (".5", 1), ("cold", 1.1), (".5", 1)],
    'x"fire"+ "a \\"fire\\""+': [('x"fire"+', 1), ("a", 1.1), ('"fire"', 1.1)],
    "fire,,flames ,!": [("fire,", 1), (",flames", 1), (",", 1), ("!", 1)],
    "(dark...)1.2": [("dark", 1.2), (".", 1.2), (".", 1.2), (".", 1.2)],
}


@pytest.mark.parametrize("prompt", COMFYUI)
def test_comfyui(prompt):
    assert words(prompt, "comfyui") == [
        (word, pytest.approx(weight, rel=1e-12)) for word, weight in COMFYUI[prompt]
    ]


@pytest.mark.parametrize("prompt", COMPEL)
def test_compel(prompt):
    assert words(prompt, "compel") == [
        (word, pytest.approx(weight, rel=1e-12)) for word, weight in COMPEL[prompt]
    ]


def test_compel_asks_for_loras_in_its_own_words():
    prompt = Prompt.read("a withLora(ink, 0.5) cat useLora(b)", "compel")
    assert prompt.loras == (LoraTag("ink", 0.5, 0.5), LoraTag("b"))
    assert prompt.at(0, 1)[0].text.split() == ["a", "cat"]


@pytest.mark.parametrize("operator", ["blend(1, 1)", "and()", "swap(dog)"])
def test_what_compel_makes_of_several_prompts_is_refused_and_not_read_as_words(operator):
    with pytest.raises(InputError, match="of compel is not read here"):
        Prompt.read(f'("a cat", "a dog").{operator}', "compel")


@pytest.mark.parametrize("style", ["comfyui", "compel"])
def test_too_deep_a_nest_and_too_large_a_weight_are_refused(style):
    with pytest.raises(InputError, match="more than 64 brackets"):
        Prompt.read("(" * 70 + "a" + ")" * 70, style)
    with pytest.raises(InputError, match="is 5000; give one from -100 to 100"):
        Prompt.read("(a:5000)" if style == "comfyui" else "(a)5000", style)


def lengths(text, style, tokenizer=clip):
    (phrase,) = Prompt.read(text, style).at(0, 1)
    return [len(chunk) for chunk in chunked(tokenizer, phrase.sections, 75, style)]


def test_comfyui_keeps_a_stretch_of_fewer_than_eight_tokens_whole():
    seven, eight = "1234567", "12345678"  # a digit is a token
    assert lengths("red " * 70 + f"({seven})", "comfyui") == [70, 7]
    assert lengths("red " * 70 + f"({eight})", "comfyui") == [75, 3]
    assert lengths("red " * 70 + seven, "comfyui") == [75, 2]


def test_comfyui_tells_brackets_of_weight_one_from_what_stands_around_them():
    (phrase,) = Prompt.read("re(d:1.0)st", "comfyui").at(0, 1)
    (chunk,) = chunked(clip, phrase.sections, 75, "comfyui")
    assert [clip.decode([token.id]) for token in chunk] == ["re", "d", "st"]


TAUGHT = TaughtTokenizer.with_word(TaughtTokenizer.with_word(clip, "ink", 2), "wash", 9)
EMBEDDINGS = {
    "a embedding:ink b": ["a", "ink", "b"],
    "embedding:ink.safetensors, b": ["ink", ",", "b"],
    "a (b\nembedding:styles/Ink:1.2)": ["a", "b", "ink"],
    "embedding:none, b": [",", "b"],
    "xembedding:red": ["xembedding", ":", "red"],
}


@pytest.mark.parametrize("text", EMBEDDINGS)
def test_comfyui_names_textual_inversions(text):
    (phrase,) = Prompt.read(text, "comfyui").at(0, 1)
    (chunk,) = chunked(TAUGHT, phrase.sections, 75, "comfyui")
    assert TAUGHT.decode([token.id for token in chunk]) == " ".join(EMBEDDINGS[text])


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_taught_words_are_spelled_from_the_ids_of_any_library(kind):
    assert TAUGHT.decode(kind(TAUGHT.encode("a red wash, ink"))) == "a red wash , ink"
    with pytest.raises(InputError, match="the vocabulary has the ids 0 to 49418"):
        TAUGHT.decode(kind([49419]))


def test_comfyui_parts_the_vectors_of_a_long_word_and_keeps_those_of_a_short_one_together():
    assert lengths("red " * 74 + "embedding:ink", "comfyui", TAUGHT) == [74, 2]
    assert lengths("red " * 74 + "embedding:wash", "comfyui", TAUGHT) == [75, 8]


def test_a_name_that_the_model_was_not_taught_is_told_and_says_nothing():
    encoder = TextEncoder(TextEncoderConfig(width=32, layers=1, heads=1))
    (phrase,) = Prompt.read("red, embedding:ink, apple", "comfyui").at(0, 1)
    assert embed_phrase(encoder, clip, phrase, "comfyui").unknown == (("embedding:ink",),)
    (chunk,) = chunked(clip, phrase.sections, 75, "comfyui")
    assert clip.decode([token.id for token in chunk]) == "red , , apple"


def test_compel_goes_back_to_a_full_stop_then_to_any_mark_then_cuts():
    assert lengths("red " * 30 + ". " + "red " * 60, "compel") == [31, 60]
    assert lengths("red " * 30 + ". " + "red " * 10 + ", " + "red " * 50, "compel") == [31, 61]
    assert lengths("red " * 30 + ", " + "red " * 60, "compel") == [31, 60]
    assert lengths("red " * 90, "compel") == [75, 15]


@pytest.mark.parametrize(
    "written", ["ink", "INK", "\u0131nk", "\u0130nk"]
)  # Turkish i, which no lower() joins
def test_a_taught_word_is_found_in_any_case(written):
    assert TAUGHT.encode(f"a {written} cat") == [320, *TAUGHT.named("ink"), 2368]


def test_a_style_that_is_none_is_refused():
    config = TextEncoderConfig.small(clip.size, clip.end, width=16, layers=1)
    with pytest.raises(InputError, match="prompt_style is 'comfy'; give one of a1111"):
        embed_phrase(TextEncoder(config), clip, Prompt.read("(a:2)").at(0, 1)[0], style="comfy")
