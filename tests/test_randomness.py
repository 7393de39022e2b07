"""Keyed draws: a function of seed, purpose and place alone."""

import contextlib
import threading

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


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (lambda: randomness.key(1.5, "start"), r"seed is 1\.5; give a whole number, for example 7"),
        (lambda: randomness.normal("7", "start", shape=(3,)), "seed is '7'; give a whole number"),
        (lambda: randomness.uniform(None, "time"), "seed is None; give a whole number"),
        (lambda: NoiseSource((1, 2))("step", 0, like=np.zeros((2, 3))), "like is array.*; give a Tensor"),
        (lambda: NoiseSource((1, 2))("step", 0, like=torch.zeros(2, 3).long()), r"like is torch\.int64"),
        (
            lambda: BrownianSource((1,)).increment(0.2, 0.1, torch.zeros(1)),
            r"end is 0\.1; give a number above 0\.2",
        ),
        (
            lambda: BrownianSource((1,)).increment(-1.0, 0.1, torch.zeros(1)),
            r"start is -1\.0; give a number of at",
        ),
    ],
)
def test_what_no_noise_can_be_drawn_by_is_refused_by_its_name(draw, says):
    with pytest.raises(InputError, match=says):
        draw()


def test_a_seed_of_any_kind_of_whole_number_is_that_number():
    assert (
        len({randomness.key(seed, "start") for seed in (7, np.int64(7), torch.tensor(7), np.uint8(7))}) == 1
    )


def test_layers_in_two_threads_draw_what_each_draws_alone_and_nothing_else_is_changed():
    met, drawn = threading.Barrier(2, timeout=0.2), {}

    def draw(seed, meet=lambda: None):
        with randomness.torchs_own(seed, "layers"):
            first = torch.rand(3)
            meet()
            drawn[seed] = torch.cat([first, torch.rand(3)])

    def meet():
        with contextlib.suppress(threading.BrokenBarrierError):
            met.wait()

    before, alone = torch.get_rng_state(), []
    for seed in (1, 2):
        draw(seed)
        alone.append(drawn[seed])
    threads = [threading.Thread(target=draw, args=(seed, meet)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(torch.stack(alone), torch.stack([drawn[1], drawn[2]]))
    assert torch.equal(torch.get_rng_state(), before)
