import pytest
import torch

from unnoise.errors import InputError
from unnoise.networks.text_encoder import TextEncoder, TextEncoderConfig
from unnoise.text import CompactTokenizer, Tokenizer, embed

digits = CompactTokenizer.from_captions(["a seven", "a six"])
clip = Tokenizer()


@pytest.fixture
def small():
    torch.manual_seed(0)
    return TextEncoder(TextEncoderConfig.small(digits.size, digits.end)).eval()


@pytest.fixture
def causal():
    torch.manual_seed(0)
    return TextEncoder(TextEncoderConfig(width=16, layers=2, heads=2)).eval()


def test_shapes_and_mask_of_a_masked_encoder(small):
    found = embed(small, digits, ["a seven", ""])
    assert found.hidden.shape == (2, 32, 64)
    assert found.pooled.shape == (2, 64)
    assert found.mask is not None
    assert found.mask.sum(dim=1).tolist() == [4, 2]


def test_clip_gives_no_mask_because_its_padding_is_meant_to_be_seen(causal):
    found = embed(causal, clip, "a seven")
    assert found.mask is None
    assert found.hidden.shape == (1, 77, 16)


@torch.no_grad()
def test_neighbours_in_the_batch_do_not_change_an_embedding(small):
    alone = embed(small, digits, "a seven")
    among = embed(small, digits, ["a six", "a seven six a seven", "a seven"])
    torch.testing.assert_close(among.hidden[2:], alone.hidden, atol=1e-5, rtol=0)
    torch.testing.assert_close(among.pooled[2:], alone.pooled, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_padded_length_does_not_change_a_masked_embedding(small):
    short, long = embed(small, digits, "a seven", length=5), embed(small, digits, "a seven", length=32)
    torch.testing.assert_close(short.hidden[:, :4], long.hidden[:, :4], atol=1e-5, rtol=0)
    torch.testing.assert_close(short.pooled, long.pooled, atol=1e-5, rtol=0)


@pytest.mark.parametrize("prompt", ["", "qzxv", "🎨🧑🏽‍🚀", "\ud800", "\0", "seven " * 1666, "x" * 10_000])
@torch.no_grad()
def test_any_text_gives_finite_vectors(small, causal, prompt):
    for encoder, tokenizer in ((small, digits), (causal, clip)):
        found = embed(encoder, tokenizer, [prompt])
        assert found.hidden.isfinite().all()
        assert found.pooled.isfinite().all()


def test_notes_say_what_was_cut_and_what_is_unknown(small):
    assert embed(small, digits, "a seven").notes == ()
    one = embed(small, digits, "a dog", length=3)
    assert one.notes == (
        "the prompt is too long: its end is not used: 'dog'",
        "the prompt has words that the model never saw: dog",
    )
    many = embed(small, digits, ["a six", "seven " * 1000])
    assert len(many.notes) == 1
    assert many.notes[0].startswith("prompt 1 is too long")
    assert len(many.notes[0]) < 150


def test_a_too_long_prompt_or_a_foreign_tokenizer_is_refused(small):
    with pytest.raises(InputError, match="100,001"):
        embed(small, digits, "a" * 100_001)
    with pytest.raises(InputError, match="49408 ids"):
        embed(small, clip, "a")
    with pytest.raises(InputError, match="length from 1 to 32"):
        embed(small, digits, "a", length=40)


def test_gradients_reach_the_token_table(small):
    embed(small, digits, "a seven").hidden.square().sum().backward()
    gradient = small.token_embedding.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0
