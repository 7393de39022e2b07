"""Keyed draws: a function of seed, purpose and place alone."""

import numpy as np
import pytest
import torch

from unnoise import randomness
from unnoise.errors import InputError
from unnoise.randomness import BrownianSource, NoiseSource


def test_neither_the_default_device_nor_the_default_type_changes_a_draw(far_defaults):
    like = torch.zeros(2, 3)

    def drawn():
        return (
            randomness.normal(7, "start", shape=(3,)),
            NoiseSource((1, 2))("step", 0, like=like),
            BrownianSource((1, 2)).increment(0.3, 1.7, like),
        )

    plain = drawn()
    with far_defaults():
        far = drawn()
    for one, other in zip(plain, far, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def test_integers_of_numpy_are_integers():
    for draw in (randomness.key, randomness.uniform):
        assert draw(np.int64(3), "time", np.int64(5)) == draw(3, "time", 5)


@pytest.mark.parametrize(("seeds", "has"), [((), "0 seeds"), ((1,), "1 seed"), ((1, 2, 3), "3 seeds")])
def test_seeds_for_another_number_of_samples_are_refused(seeds, has):
    with pytest.raises(InputError, match=f"noise has {has} for 2 samples"):
        NoiseSource(seeds)("step", 0, like=torch.zeros(2, 3))
    with pytest.raises(InputError, match=f"noise has {has} for 2 samples"):
        BrownianSource(seeds).increment(0.5, 1.0, torch.zeros(2, 3))


@pytest.mark.parametrize("seeds", [7, (1.5,), ("7",)])
def test_seeds_are_whole_numbers_a_sample(seeds):
    with pytest.raises(InputError, match="seeds"):
        NoiseSource(seeds)


def test_a_seed_from_numpy_draws_as_python_s_own():
    like = torch.zeros(1, 3)
    assert NoiseSource((np.int64(7),))("start", like=like).equal(NoiseSource((7,))("start", like=like))
