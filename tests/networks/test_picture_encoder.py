"""The pair of encoders: unit vectors, sizes, and a loss that is what its formula says."""

import pytest
import torch

from unnoise.errors import InputError
from unnoise.networks.picture_encoder import PictureEncoder, PictureEncoderConfig, PictureTextEncoder
from unnoise.networks.text_encoder import TextEncoderConfig

PICTURE = PictureEncoderConfig(size=16, widths=(8, 16), features=12)
TEXT = TextEncoderConfig(
    vocabulary=20, width=16, layers=1, heads=2, positions=6, end_token=3, pooling="mean", projection=12,
    causal=False, attend_padding=False,
)  # fmt: skip


@pytest.fixture
def pair():
    torch.manual_seed(0)
    return PictureTextEncoder(PICTURE, TEXT).eval()


def test_both_towers_give_unit_vectors(pair):
    pictures, tokens = torch.rand(3, 3, 16, 16) * 2 - 1, torch.randint(0, 20, (3, 6))
    for vectors in (pair.picture(pictures), pair.words(tokens, None)):
        assert vectors.shape == (3, 12)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


def test_pictures_of_another_size_are_resized_first(pair):
    flat = torch.full((1, 3, 16, 16), 0.25)
    torch.testing.assert_close(pair.picture(torch.full((1, 3, 40, 40), 0.25)), pair.picture(flat))


def test_the_loss_is_the_mean_cross_entropy_of_rows_and_columns(pair):
    pictures, tokens = torch.rand(4, 3, 16, 16), torch.randint(0, 20, (4, 6))
    same = torch.eye(4, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    with torch.no_grad():
        loss = pair.loss(pictures, tokens, None, same)
        scores = pair.log_scale.exp() * pair.picture(pictures) @ pair.words(tokens, None).T
    kept = ~same | torch.eye(4, dtype=torch.bool)
    by_hand = 0.0
    for table, mask in ((scores, kept), (scores.T, kept.T)):
        for i in range(4):
            row = table[i].double()
            by_hand -= float(row[i] - torch.log(row[mask[i]].exp().sum())) / 8
    assert float(loss) == pytest.approx(by_hand, rel=1e-5)


def test_a_pair_learns_which_words_belong_to_which_picture():
    torch.manual_seed(0)
    pair = PictureTextEncoder(PICTURE, TEXT)
    pictures, tokens = torch.rand(8, 3, 16, 16) * 2 - 1, torch.arange(8)[:, None].repeat(1, 6) + 4
    optimizer = torch.optim.Adam(pair.parameters(), 5e-3)
    same = torch.eye(8, dtype=torch.bool)
    for _ in range(60):
        optimizer.zero_grad()
        pair.loss(pictures, tokens, None, same).backward()
        optimizer.step()
    scores = pair.picture(pictures) @ pair.words(tokens, None).T
    assert scores.argmax(1).tolist() == list(range(8))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"size": 0}, "size is 0"),
        ({"size": 30}, "multiple of 16"),
        ({"widths": (8, 12, 16, 20)}, "a multiple of groups"),
        ({"blocks": True}, "blocks is True"),
    ],
)
def test_settings_that_make_no_encoder_are_refused(values, words):
    with pytest.raises(InputError, match=words):
        PictureEncoderConfig(**values)


def test_bad_input_is_named():
    with pytest.raises(InputError, match="shape \\(1, 1, 16, 16\\)"):
        PictureEncoder(PICTURE)(torch.zeros(1, 1, 16, 16))
    with pytest.raises(InputError, match="projection is 12, the picture's vector has 8"):
        PictureTextEncoder(PictureEncoderConfig(size=16, widths=(8,), features=8), TEXT)
    with pytest.raises(InputError, match="'wide' is not a setting"):
        PictureEncoderConfig.from_dict({"wide": 3})
