"""Frozen vectors of meaning beside learned ones: which word has what, and what training can change."""

import pytest
import torch

from unnoise.errors import InputError
from unnoise.networks.text_encoder import TextEncoder, TextEncoderConfig, WordEmbedding

LEARNED, WORDS = 7, 12
SEEN, UNSEEN = torch.tensor([[4, 5, 6]]), torch.tensor([[7, 9, 11]])


def embedding(dropout=0.0, learned=LEARNED):
    torch.manual_seed(0)
    config = TextEncoderConfig(
        vocabulary=WORDS, width=8, heads=2, vectors=5, learned=learned, end_token=3, token_dropout=dropout
    )
    made = WordEmbedding(config)
    torch.nn.init.normal_(made.learned.weight)
    made.vectors[4:] = torch.randint(-127, 128, (WORDS - 4, 5), dtype=torch.int8)
    return made


def meaning(made, tokens):
    """The projection of unit vectors, written out."""
    rows = made.vectors[tokens].float()
    return (rows / rows.norm(dim=-1, keepdim=True)) @ made.project.weight.T


@torch.no_grad()
def test_an_unseen_word_is_its_meaning_and_the_learned_row_of_unknown():
    made = embedding().eval()
    torch.testing.assert_close(made(UNSEEN), meaning(made, UNSEEN) + made.learned.weight[made.UNKNOWN])


@torch.no_grad()
def test_a_seen_word_is_its_meaning_and_its_own_learned_row():
    made = embedding().eval()
    torch.testing.assert_close(made(SEEN), meaning(made, SEEN) + made.learned.weight[SEEN])


@torch.no_grad()
def test_a_special_id_has_no_meaning_only_its_learned_row():
    made = embedding().eval()
    special = torch.arange(4)[None]
    assert torch.equal(made(special)[0], made.learned.weight[:4])


@torch.no_grad()
def test_words_dropped_in_training_read_as_unseen_ones_and_as_often_as_asked():
    made = embedding(dropout=0.3).train()
    tokens = torch.full((1, 20_000), 5)
    with_own = meaning(made, tokens[:, :1]) + made.learned.weight[5]
    without = meaning(made, tokens[:, :1]) + made.learned.weight[made.UNKNOWN]
    found = made(tokens)
    own, dropped = (torch.isclose(found, row, atol=1e-5).all(-1) for row in (with_own, without))
    assert bool((own ^ dropped).all())
    # Four standard errors of a share of 0.3 among 20,000 draws.
    assert dropped.float().mean().item() == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / 20_000) ** 0.5)


@torch.no_grad()
def test_no_word_is_dropped_when_sampling():
    made = embedding(dropout=0.9).eval()
    torch.testing.assert_close(made(SEEN), meaning(made, SEEN) + made.learned.weight[SEEN])


def test_gradients_reach_the_learned_rows_of_seen_words_and_no_frozen_vector():
    made = embedding()
    before = made.vectors.clone()
    made(torch.tensor([[4, 6]])).sum().backward()
    touched = made.learned.weight.grad.abs().sum(1) > 0
    assert touched.nonzero().flatten().tolist() == [4, 6]
    made.zero_grad()
    made(UNSEEN).sum().backward()
    touched = made.learned.weight.grad.abs().sum(1) > 0
    assert touched.nonzero().flatten().tolist() == [made.UNKNOWN]
    assert made.project.weight.grad.abs().sum() > 0
    assert made.vectors.grad is None
    assert torch.equal(made.vectors, before)
    assert "vectors" not in dict(made.named_parameters())


@torch.no_grad()
def test_words_of_equal_meaning_are_equal_unless_both_were_seen():
    made = embedding().eval()
    made.vectors[9] = made.vectors[8] // 2 * 2
    made.vectors[8] = made.vectors[9] // 2  # the same direction at half the length
    assert torch.allclose(made(torch.tensor([[8]])), made(torch.tensor([[9]])), atol=1e-6)
    made.vectors[4] = made.vectors[5]
    assert not torch.allclose(made(torch.tensor([[4]])), made(torch.tensor([[5]])), atol=1e-2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vectors": -1}, "vectors is -1"),
        ({"vectors": 5, "learned": 1}, "learned 1"),
        ({"vectors": 5, "learned": 13}, "from 2 to 12"),
        ({"vectors": 5, "learned": 5, "token_dropout": 1.0}, "token_dropout is 1.0"),
    ],
)
def test_a_table_that_cannot_be_is_refused(changes, said):
    with pytest.raises(InputError, match=said):
        TextEncoderConfig(vocabulary=12, width=8, heads=2, end_token=3, **changes)


@torch.no_grad()
def test_the_encoder_reads_an_unseen_word_by_its_neighbour():
    """Two unseen words of one meaning give one encoding, and another meaning gives another."""
    config = TextEncoderConfig(
        vocabulary=WORDS, width=8, layers=1, heads=2, positions=8, end_token=3, vectors=5, learned=LEARNED
    )
    torch.manual_seed(0)
    encoder = TextEncoder(config).eval()
    table = encoder.token_embedding.vectors
    table[7:] = torch.randint(-127, 128, (WORDS - 7, 5), dtype=torch.int8)
    table[8] = table[7]
    same, other, far = (encoder(torch.tensor([[2, word, 3]])).pooled for word in (7, 8, 9))
    assert torch.equal(same, other)
    assert not torch.allclose(same, far, atol=1e-3)
    assert torch.cosine_similarity(same, far).item() < 1
