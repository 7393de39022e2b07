"""AdamW with moments in eight bits: what torch's does, in a quarter of the memory, cut and continued to the bit."""

import importlib.util

import pytest
import torch
from torch import nn

import optimizer_runs
from optimizer_runs import SMALL, check_cut_is_whole, draw_pictures
from unnoise import training
from unnoise.cli import main
from unnoise.errors import CheckpointError
from unnoise.training import Saved, memory, optimizers
from unnoise.training.config import OptimizerConfig
from unnoise.training.trainer import Trainer

bitsandbytes = pytest.importorskip("bitsandbytes")
CPU = torch.device("cpu")


def weights():
    """One in rows, one small, one channels-last as those of our convolutions, one that never learns."""
    source = torch.Generator().manual_seed(3)
    shapes = ((80, 64), (80,), (64, 16, 3, 3), (8,))
    made = [torch.randn(shape, generator=source) for shape in shapes]
    made[2] = made[2].to(memory_format=torch.channels_last)
    return [nn.Parameter(one) for one in made]


def steps(name, count, transposed=False):
    """The weights after some steps with the same gradients, and their optimizer."""
    moved = weights()
    optimizer = optimizers.build(OptimizerConfig(name=name, weight_decay=0.1), nn.ParameterList(moved), CPU)
    source = torch.Generator().manual_seed(4)
    for _ in range(count):
        for weight in moved[:3]:
            gradient = torch.randn(weight.shape, generator=source) + 0.5
            plain = transposed and weight.ndim == 4
            weight.grad = gradient.contiguous() if plain else torch.empty_like(weight).copy_(gradient)
        optimizer.step(1e-2)
    return moved, optimizer


def test_moments_in_float32_are_torchs_own_to_the_bit():
    theirs = weights()
    adam = torch.optim.AdamW(theirs, lr=1e-2, betas=(0.9, 0.99), weight_decay=0.1, fused=True)
    ours = weights()
    optimizer = optimizers.build(
        OptimizerConfig(betas=(0.9, 0.99), weight_decay=0.1), nn.ParameterList(ours), CPU
    )
    source = torch.Generator().manual_seed(5)
    for step in range(4):
        for one, other in zip(ours[step == 0 :], theirs[step == 0 :], strict=True):
            one.grad = other.grad = torch.randn(one.shape, generator=source)
        adam.step()
        optimizer.step(1e-2)
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    assert optimizer.tensors()["0.step"] == 3  # it had no gradient at the first


def test_the_first_step_is_torchs():
    """Moments are rounded after they were used, so the first step knows nothing of it."""
    for ours, theirs in zip(steps("adamw8bit", 1)[0], steps("adamw", 1)[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_twenty_steps_end_near_torchs():
    """Small weights to the last digits; large ones within a few hundredths of the way that they went."""
    ours, theirs, begun = steps("adamw8bit", 20)[0], steps("adamw", 20)[0], weights()
    torch.testing.assert_close(ours[1], theirs[1], rtol=0, atol=1e-6)
    torch.testing.assert_close(ours[3], begun[3], rtol=0, atol=0)
    for place in (0, 2):
        way, error = (theirs[place] - begun[place]).norm(), (ours[place] - theirs[place]).norm()
        assert 0 < error < 0.04 * way


def test_weights_stay_where_and_as_they_are_in_memory():
    """The averages hold this memory; gradients that autograd laid out otherwise come to the same."""
    before = weights()
    places = [(weight.data_ptr(), weight.stride()) for weight in before]
    optimizer = optimizers.build(OptimizerConfig(name="adamw8bit"), nn.ParameterList(before), CPU)
    for weight in before:
        weight.grad = torch.ones_like(weight)
    optimizer.step(1e-3)
    assert [(weight.data_ptr(), weight.stride()) for weight in before] == places
    for one, other in zip(steps("adamw8bit", 3)[0], steps("adamw8bit", 3, transposed=True)[0], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("name", "part"), [("adamw", 2.0), ("adamw8bit", 0.5 + 2 / 256)])
def test_the_moments_take_what_was_told(name, part):
    """Beside a large weight: twice its bytes, or half of them and a factor a block. Counts of steps are not counted."""
    weight = nn.Parameter(torch.zeros(512, 512))
    optimizer = optimizers.build(OptimizerConfig(name=name), nn.ParameterList([weight]), CPU)
    told = optimizer.bytes()
    optimizer.begin(1)
    kept = sum(one.nbytes for key, one in optimizer.tensors().items() if not key.endswith("step"))
    assert told == kept
    assert told == pytest.approx(part * weight.nbytes, rel=0.01)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    data = tmp_path_factory.mktemp("pictures")
    draw_pictures(data)
    return data


def config(*more):
    return optimizer_runs.config("adamw8bit", *more)


def test_six_steps_equal_two_and_four_to_the_bit(folder, tmp_path):
    assert check_cut_is_whole(folder, tmp_path, "adamw8bit") >= {"state1", "state2", "absmax1", "absmax2"}


def test_a_run_learns_and_its_model_follows(folder, tmp_path):
    """The exported average moves with the weights, whose memory it was given."""
    trainer = Trainer(folder, tmp_path / "run", config("optimizer.ema=0.5"))
    before = {name: tensor.clone() for name, tensor in trainer.learner.tensors.items()}
    assert memory.estimate(trainer.learner).optimizer == trainer.learner.optimizer.bytes()
    list(trainer.run())
    for name, tensor in trainer.learner.tensors.items():
        if tensor.dim() == 4:
            assert not torch.equal(tensor, before[name])
            assert not torch.equal(trainer.learner.average.average[name], before[name])


def test_a_run_of_one_optimizer_is_not_taken_up_by_the_other(folder, tmp_path):
    for event in training.train(folder, tmp_path / "run", config("run.checkpoint_every=2")):
        if isinstance(event, Saved):
            break
    path = tmp_path / "run" / "config.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("adamw8bit", "adamw"), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"does not fit this run's config\.toml"):
        list(training.train(folder, tmp_path / "run", resume=True))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("optimizer.name=adam8", "optimizer.name is 'adam8'"),
        ("run.shard=true", "cannot work on shares of a weight"),
        ("run.seed=1", "pip install 'unnoise[bitsandbytes]'"),
    ],
)
def test_what_cannot_be_had_is_told_before_anything_is_written(
    folder, tmp_path, monkeypatch, capsys, change, told
):
    known = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "bitsandbytes" else known(name, *more),
    )
    words = ["train", str(folder), "--out", str(tmp_path / "run")]
    words += [word for one in (*SMALL, "optimizer.name=adamw8bit", change) for word in ("--set", one)]
    assert main(words) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
