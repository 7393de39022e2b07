"""Moved, scaled and mirrored pictures: closed forms, and draws that nothing but (seed, step, position) changes."""

import math

import pytest
import torch

from unnoise import randomness
from unnoise.errors import InputError
from unnoise.training import DataConfig
from unnoise.training.augmentation import _moved, _placed, augmented
from unnoise.training.draws import Draws

PICTURES = torch.linspace(-1, 1, 6 * 3 * 8 * 8).reshape(6, 3, 8, 8)


def shown(config, positions=range(6), step=3, captions=None):
    return augmented(
        PICTURES[list(positions)], config, Draws(7, step, positions), captions or [()] * len(positions)
    )


def test_a_whole_pixel_is_a_plain_shift_and_what_comes_in_is_white_or_the_edge():
    placed = torch.tensor([[1.0, 2 / 8, -1 / 8]])
    one = PICTURES[:1]
    moved = _moved(one, placed, DataConfig(fill="white"))
    assert torch.allclose(moved[..., :7, 2:], one[..., 1:, :6], atol=1e-6)
    assert torch.allclose(moved[..., 7, :], torch.ones(8), atol=1e-6)
    assert torch.allclose(moved[..., :2], torch.ones(2), atol=1e-6)
    edge = _moved(one, placed, DataConfig(fill="edge"))
    assert torch.allclose(edge[..., :7, :2], one[..., 1:, :1].expand(-1, -1, -1, 2), atol=1e-6)
    assert torch.allclose(edge[..., 7, 2:], one[..., 7, :6], atol=1e-6)


def test_twice_the_size_shows_the_middle_and_a_plane_stays_a_plane():
    ramp = torch.linspace(-0.7, 0.7, 8).expand(1, 1, 8, 8)
    large = _moved(ramp, torch.tensor([[2.0, 0.0, 0.0]]), DataConfig())
    assert torch.allclose(large, ramp / 2, atol=1e-6)
    small = _moved(torch.zeros(1, 1, 8, 8), torch.tensor([[0.5, 0.0, 0.0]]), DataConfig())
    assert torch.allclose(small[0, 0, 2:6, 2:6], torch.zeros(4, 4), atol=1e-6)
    assert torch.allclose(small[0, 0, [0, -1]], torch.ones(2, 8), atol=1e-6)


def test_a_picture_is_shown_alike_wherever_it_is_computed_and_otherwise_at_another_step():
    config = DataConfig(shift=0.2, scale=0.3, mirror=True)
    whole = shown(config)
    assert torch.equal(shown(config, range(2, 5)), whole[2:5])
    assert not torch.equal(shown(config, step=4), whole)
    assert not torch.equal(whole, PICTURES)
    assert torch.equal(shown(DataConfig()), PICTURES)


def test_draws_fill_their_range_evenly():
    drawn = _placed(DataConfig(shift=0.1, scale=0.5), Draws(0, 0, range(4000)))
    for column, half in (
        (drawn[:, 0].log(), math.log(1.5)),
        (drawn[:, 1], 0.1),
        (drawn[:, 2], 0.1),
    ):
        assert float(column.abs().max()) <= half
        assert float(column.mean()) == pytest.approx(0.0, abs=0.05 * half)
        assert float(column.std()) == pytest.approx(half / 3**0.5, rel=0.03)


def test_a_picture_of_the_left_is_not_mirrored():
    flips = [randomness.uniform(7, "mirror", 3, position) < 0.5 for position in range(6)]
    assert 0 < sum(flips) < 6
    captions = [("an arrow", "an arrow to the LEFT.")] * 3 + [("a leftover",)] * 3
    found = shown(DataConfig(mirror=True), captions=captions)
    for place in range(6):
        wanted = PICTURES[place].flip(-1) if flips[place] and place > 2 else PICTURES[place]
        assert torch.equal(found[place], wanted)
    phrase = DataConfig(mirror=True, mirror_guard=("To the Left",))
    assert torch.equal(shown(phrase, captions=captions), found)
    free = shown(DataConfig(mirror=True, mirror_guard=()), captions=captions)
    assert [not torch.equal(free[place], PICTURES[place]) for place in range(6)] == flips


@pytest.mark.parametrize("values", [{"shift": 0.6}, {"scale": -0.1}, {"fill": "black"}])
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(InputError, match=f"data.{next(iter(values))}"):
        DataConfig(**values)
