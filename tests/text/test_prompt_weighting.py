"""What a weight does to an embedding, value by value, on a miniature of CLIP's text encoder and on a masked one."""

import math

import pytest
import torch

from unnoise.networks.text_encoder import TextEncoder, TextEncoderConfig
from unnoise.text import CompactTokenizer, Phrase, Prompt, Tokenizer, embed, embed_phrase

clip = Tokenizer()
few = CompactTokenizer.from_captions(["a red apple , on the blue table"])
LENGTH = 77


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    network = TextEncoder(TextEncoderConfig(width=16, layers=2, heads=2)).eval().requires_grad_(False)
    network.final_norm.bias.normal_()  # as after training: without it every token's mean is 0, and their ratio noise
    return network


@pytest.fixture(scope="module")
def masked():
    torch.manual_seed(0)
    config = TextEncoderConfig.small(few.size, few.end, width=16)
    return TextEncoder(config).eval().requires_grad_(False)


def phrase(text, style="a1111"):
    return Prompt.read(text, style).at(0, 1)[0]


def row(*words):
    """A chunk of words that are one token each, with its padding."""
    ids = [clip.start, *(clip.encode(word)[0] for word in words), clip.end]
    return torch.tensor([ids + [clip.padding] * (LENGTH - len(ids))])


def weights(*given):
    return torch.tensor([1.0, *given, *[1.0] * (LENGTH - 1 - len(given))])[None, :, None]


def close(a, b, atol=1e-6):
    torch.testing.assert_close(a, b, atol=atol, rtol=0)


def test_a1111_multiplies_and_brings_the_mean_back(encoder):
    z = encoder(row("a", "red", "apple")).hidden
    w = weights(1, 1.3, 1 / 1.1)
    found = embed_phrase(encoder, clip, phrase("a (red:1.3) [apple]"))
    close(found.hidden, z * w * (z.mean() / (z * w).mean()))
    assert float(found.hidden.mean()) == pytest.approx(float(z.mean()), abs=1e-6)


def test_a1111_brings_back_the_mean_of_each_chunk(encoder):
    found = embed_phrase(encoder, clip, phrase("a (red:1.3) BREAK [apple]")).hidden
    for place, (words, w) in enumerate(((("a", "red"), weights(1, 1.3)), (("apple",), weights(1 / 1.1)))):
        z = encoder(row(*words)).hidden
        close(found[:, LENGTH * place : LENGTH * (place + 1)], z * w * (z.mean() / (z * w).mean()))


def test_comfyui_goes_along_the_line_from_the_empty_prompt(encoder):
    z, e = encoder(row("a", "red", "apple")).hidden, encoder(row()).hidden
    w = weights(1, 1.3, 0.4)
    found = embed_phrase(encoder, clip, phrase("a (red:1.3) (apple:0.4)", "comfyui"), "comfyui")
    close(found.hidden, e + w * (z - e))
    assert torch.equal(found.hidden[:, :2], z[:, :2])


def test_compel_fades_what_is_below_one_into_the_prompt_without_it(encoder):
    ids, e = row("a", "red", "apple"), encoder(row()).hidden

    def strong(masked_out=()):
        mask = torch.ones(1, LENGTH, dtype=torch.bool)
        mask[:, list(masked_out)] = False
        z = encoder(ids, mask).hidden
        return e + weights(1.5, 0.4, 0.7) * (z - e)

    shares = [1.0, math.tan(math.pi / 2 * 0.6), math.tan(math.pi / 2 * 0.3)]
    rows = [strong(), strong([2]), strong([3])]
    wanted = sum(share * each for share, each in zip(shares, rows, strict=True)) / sum(shares)
    found = embed_phrase(encoder, clip, phrase("(a)1.5 (red)0.4 (apple)0.7", "compel"), "compel")
    close(found.hidden, wanted)


def test_of_a_weight_of_nothing_compel_leaves_nothing(encoder):
    mask = torch.ones(1, LENGTH, dtype=torch.bool)
    mask[:, 2] = False
    z, e = encoder(row("a", "red"), mask).hidden, encoder(row()).hidden
    found = embed_phrase(encoder, clip, phrase("a (red)0.0", "compel"), "compel").hidden
    close(found, e + weights(1, 0) * (z - e), atol=1e-4)  # the tangent at 1e-5 is finite


@pytest.mark.parametrize("style", ["a1111", "comfyui", "compel", "plain"])
@pytest.mark.parametrize("text", ["a red apple", "", "a (red) [apple]" * 0 + "red"])
def test_without_weights_every_style_is_the_plain_embedding_to_the_bit(encoder, masked, style, text):
    for network, tokenizer in ((encoder, clip), (masked, few)):
        found, plain = (
            embed_phrase(network, tokenizer, phrase(text, style), style),
            embed(network, tokenizer, text),
        )
        assert torch.equal(found.hidden, plain.hidden)
        assert torch.equal(found.pooled, plain.pooled)


def test_a_long_prompt_is_its_chunks_one_after_the_other(encoder):
    found = embed_phrase(encoder, clip, phrase("red " * 80))
    parts = [encoder(row(*["red"] * number)) for number in (75, 5)]
    close(found.hidden, torch.cat([part.hidden for part in parts], dim=1))
    close(found.pooled, parts[0].pooled)
    assert found.cut == ("",)
    assert found.notes == ()


def test_the_last_word_of_a_long_prompt_counts(encoder):
    one, other = (
        embed_phrase(encoder, clip, phrase("red " * 80 + word)).hidden for word in ("apple", "table")
    )
    assert (one - other).abs().max() > 0.01


def test_padding_of_its_own_comes_after_the_end(encoder):
    """Stable Diffusion 2 and XL's second tower pad with 0."""
    padded = Tokenizer(padding=0)
    ids = row("red")
    ids[0, 3:] = 0
    close(embed_phrase(encoder, padded, phrase("red")).hidden, encoder(ids).hidden)


def test_skipped_layers_are_skipped_in_weighing_too(encoder):
    z, e = (encoder(ids, skip=1).hidden for ids in (row("red"), row()))
    found = embed_phrase(encoder, clip, phrase("(red:1.3)", "comfyui"), "comfyui", skip=1)
    close(found.hidden, e + weights(1.3) * (z - e))


def test_a_masked_encoder_brings_back_the_mean_of_what_is_read(masked):
    tokens = few("a red apple", 32)
    z = masked(tokens.ids, tokens.mask).hidden[:, :5]
    w = torch.tensor([1, 1, 1.3, 1, 1])[None, :, None]
    found = embed_phrase(masked, few, phrase("a (red:1.3) apple"))
    close(found.hidden[:, :5], z * w * (z.mean() / (z * w).mean()))
    assert found.mask.sum() == 5


@pytest.mark.parametrize("style", ["comfyui", "compel"])
def test_a_masked_encoder_never_sees_padding_through_a_weight(masked, style):
    found = embed_phrase(
        masked, few, phrase("a (red:0.5) apple" if style == "comfyui" else "a (red)0.5 apple", style), style
    )
    assert found.hidden.isfinite().all()
    plain = embed(masked, few, "a red apple").hidden
    assert (found.hidden[:, 2] - plain[:, 2]).abs().max() > 0.01
    if style == "comfyui":
        assert torch.equal(found.hidden[:, [0, 1, 3]], plain[:, [0, 1, 3]])


def test_a_masked_encoder_takes_one_chunk_and_says_what_is_cut(masked):
    found = embed_phrase(masked, few, phrase("red " * 30 + "(apple:1.2) on the table dog"))
    assert found.hidden.shape == (1, 32, 16)
    assert found.cut == ("apple on the table dog",)
    assert found.unknown == (("dog",),)
    close(found.hidden, embed(masked, few, "red " * 30).hidden)


def test_a_break_begins_a_chunk_for_a_masked_encoder_too(masked):
    found = embed_phrase(masked, few, phrase("a red apple BREAK the blue table"))
    parts = [embed(masked, few, text) for text in ("a red apple", "the blue table")]
    close(found.hidden, torch.cat([part.hidden for part in parts], dim=1))
    assert found.mask.tolist() == torch.cat([part.mask for part in parts], dim=1).tolist()


def test_half_precision_is_weighed_in_full(encoder):
    half = TextEncoder(encoder.config).eval().requires_grad_(False)
    half.load_state_dict(encoder.state_dict())
    half.to(torch.bfloat16)
    found = embed_phrase(half, clip, phrase("a (red:1.3) apple"))
    assert found.hidden.dtype == torch.bfloat16
    assert found.hidden.isfinite().all()


def test_a_phrase_without_text_is_the_empty_prompt(encoder):
    close(embed_phrase(encoder, clip, Phrase.plain("")).hidden, embed(encoder, clip, "").hidden)
