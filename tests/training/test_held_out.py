"""The held-out curve: what is split off, what is measured, and when it has turned."""

import dataclasses
import json

import pytest
import torch
from PIL import Image

from unnoise import training
from unnoise.errors import InputError
from unnoise.evaluation import bits_per_dim
from unnoise.training import Validated, held_out, settings
from unnoise.training.data import open_pictures
from unnoise.training.objective import Objective
from unnoise.training.trainer import open_data

TINY = ["model.size=8", "model.colour=grey", "model.network.widths=16,32", "model.network.blocks=1"]
TINY += ["run.sample_every=0", "run.checkpoint_every=0", "run.device=cpu", "optimizer.decay=constant"]


def folder(path, count, seed=0):
    """Pictures of one bright pixel row and one column each, at keyed places: many different ones."""
    path.mkdir()
    draw = torch.Generator().manual_seed(seed)
    for number in range(count):
        row, column, shade, other = torch.randint(0, 2**31, (4,), generator=draw).tolist()
        image = Image.new("L", (8, 8), shade % 90)
        image.paste(120 + other % 136, (0, row % 8, 8, row % 8 + 1))
        image.paste(120 + shade % 136, (column % 8, 0, column % 8 + 1, 8))
        image.save(path / f"{number:03}.png")
    return path


def config(*more):
    return settings.override(training.TrainConfig(), [*TINY, *more])


def test_a_split_is_whole_disjoint_and_stays_when_pictures_are_added(tmp_path):
    data = folder(tmp_path / "data", 40)
    wanted = config("data.held_out=0.25")
    seen, unseen = open_data(data, wanted)
    assert (len(seen), len(unseen)) == (30, 10)
    assert {*seen.paths}.isdisjoint(unseen.paths)
    whole = open_pictures(data, (1, 8, 8), wanted.data)
    order = {path: index for index, path in enumerate(whole.paths)}
    for part in (seen, unseen):
        rows = [order[path] for path in part.paths]
        assert torch.equal(part.read(range(len(part))), whole.read(rows))
    for number in range(40, 44):
        Image.new("L", (8, 8)).save(data / f"{number:03}.png")
    _, longer = open_data(data, wanted)
    assert len({*unseen.paths} & {*longer.paths}) >= 9


def test_a_folder_of_held_out_pictures(tmp_path):
    data, other = folder(tmp_path / "data", 10), folder(tmp_path / "other", 8, seed=1)
    seen, unseen = open_data(data, config(f"data.held_out_from={other}"))
    assert (len(seen), len(unseen)) == (10, 8)
    (other / "008.png").write_bytes(b"cut")
    (data / "000.txt").write_text("a row", encoding="utf-8")
    notes = training.Trainer(data, tmp_path / "run", config(f"data.held_out_from={other}")).notes
    assert "008.png" in notes[0]
    assert notes[1:3] == [
        "1 corrupt picture skipped; --strict refuses such instead.",
        "9 of 10 pictures have no caption.",
    ]
    (other / "000.png").unlink()
    with pytest.raises(InputError, match="has 7 pictures; give a folder with at least 8"):
        open_data(data, config(f"data.held_out_from={other}"))
    with pytest.raises(InputError, match="both given"):
        config(f"data.held_out_from={other}", "data.held_out=0.1")


def test_held_out_pictures_among_the_others_are_not_trained_on(tmp_path):
    data = folder(tmp_path / "data", 10)
    other = folder(data / "held", 9, seed=1)
    (tmp_path / "link").symlink_to(other)
    for name in (other, tmp_path / "link"):
        seen, unseen = open_data(data, config(f"data.held_out_from={name}"))
        assert {path.parent for path in seen.paths} == {data}
        assert (len(seen), len(unseen)) == (10, 9)
    with pytest.raises(InputError, match="in which all pictures to train on lie"):
        open_data(data, config(f"data.held_out_from={data}"))


def test_held_out_pictures_among_the_others_have_the_words_that_they_have_there(tmp_path):
    """Of a table above their folder, and the folder's own name; not so found, they were measured without words."""
    lines = ["file_name,text"]
    for folder in ("a", "red_apples"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for place in range(8):
            Image.new("RGB", (8, 8), (place, 0, 0)).save(tmp_path / "data" / folder / f"{place}.png")
            lines += [f"{folder}/{place}.png,{folder} {place}"] * (place < 4)
    (tmp_path / "data" / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    held = tmp_path / "data" / "a" / ".." / "red_apples"
    seen, unseen = open_data(tmp_path / "data", config(f"data.held_out_from={held}"))
    assert {path.parent.name for path in seen.paths} == {"a"}
    assert unseen.captions == (*((f"red_apples {place}",) for place in range(4)), *[("red apples",)] * 4)


def test_of_many_held_out_pictures_those_that_are_measured_are_of_all_folders(tmp_path):
    unseen = open_pictures(folder(tmp_path / "data", 8), (1, 8, 8), config().data)
    many = unseen.select([place // 100 for place in range(800)])
    schedule = training.Trainer(tmp_path / "data", tmp_path / "run", config()).model.schedule
    shown = torch.cat([part.x0 for band, part in held_out.batches(config(), many, schedule) if band == 0])
    pixels = unseen.read(range(8)).float() / 127.5 - 1
    counts = [(shown == picture).flatten(1).all(1).sum().item() for picture in pixels]
    assert sum(counts) == 256
    assert all(31 <= count <= 33 for count in counts)


def test_fixed_batches_do_not_depend_on_the_parts_they_are_computed_in(tmp_path):
    unseen = open_pictures(folder(tmp_path / "data", 10), (1, 8, 8), config().data)
    schedule = training.Trainer(tmp_path / "data", tmp_path / "run", config()).model.schedule
    found = []
    for size in (10, 3):
        parts = list(held_out.batches(config(f"run.batch={size}"), unseen, schedule))
        found.append([torch.cat([part.noise for band, part in parts if band == b]) for b in range(8)])
        for band, part in parts:
            assert bool(((part.fraction * 8).long() == band).all())
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("model.prediction=edm", "model.schedule.kind=edm"),
        ("model.prediction=flow", "model.schedule.kind=flow"),
        ("loss.times=logit_normal",),
    ],
    ids=["cosine", "edm", "flow", "other times"],
)
def test_the_bound_is_that_of_the_evaluation_whatever_the_law_of_times(tmp_path, more):
    wanted = config("data.held_out=0.5", "run.batch=10", *more)
    trainer = training.Trainer(folder(tmp_path / "data", 20), tmp_path / "run", wanted)
    objective = Objective(wanted.loss, trainer.model, torch.float32).eval()
    bits = held_out.bound(objective, wanted, trainer.unseen, torch.device("cpu"))
    assert bits.shape == (10,)
    pixels = trainer.unseen.read(range(10))
    judged = bits_per_dim(trainer.model.diffuser, pixels, "vdm", calls=8, seed=wanted.run.seed)
    torch.testing.assert_close(bits, judged.each, rtol=1e-5, atol=1e-5)
    # a batch at a time: the same noise, and looks spread over fewer pictures
    parts = held_out.bound(
        objective, config("data.held_out=0.5", "run.batch=4", *more), trainer.unseen, torch.device("cpu")
    )
    assert parts.shape == (10,)
    assert abs(float(parts.mean() - bits.mean())) < 0.2 * float(bits.mean())


def told(values, noise=0.01, pictures=50):
    """The curve after these means, each picture's own level fixed and a little noise at each validation."""
    draw = torch.Generator().manual_seed(0)
    own = 1 + torch.rand(pictures, generator=draw, dtype=torch.float64)
    curve, since = held_out.Curve(), []
    for place, value in enumerate(values):
        each = own * value + noise * torch.randn(pictures, generator=draw, dtype=torch.float64)
        curve = curve.then(10 * (place + 1), each)
        since.append(curve.overfitting_since)
    return since


def test_the_curve_has_turned_after_two_sure_rises_and_names_its_lowest_point():
    assert told([3, 2, 1, 1.2, 1.3, 1.4]) == [None] * 4 + [30, 30]


def test_one_rise_or_a_rise_below_one_percent_is_not_enough():
    assert told([3, 2, 1, 1.2, 1.001, 1.2, 1.001]) == [None] * 7
    assert told([1, 1.005, 1.006, 1.007], noise=0.0) == [None] * 4


def test_rises_that_the_pictures_do_not_agree_on_are_not_sure():
    assert told([1, 1.02, 1.02, 1.02], noise=0.5) == [None] * 4


def test_a_new_lowest_point_takes_the_verdict_back():
    assert told([1, 1.2, 1.3, 0.9, 0.8]) == [None, None, 10, None, None]


def test_a_validation_that_is_not_finite_is_no_point_of_the_curve():
    curve = held_out.Curve().then(1, torch.full((9,), torch.inf))
    assert curve == held_out.Curve()
    curve = curve.then(2, torch.ones(9)).then(3, torch.full((9,), torch.nan))
    assert (curve.step, curve.best) == (2, [1.0] * 9)


def test_a_curve_is_plain_values_in_a_checkpoint():
    curve = held_out.Curve().then(5, torch.tensor([1.0, 2.0]))
    assert held_out.Curve(**json.loads(json.dumps(dataclasses.asdict(curve)))) == curve


def verdicts(tmp_path, pictures, steps):
    data = folder(tmp_path / "data", pictures)
    other = folder(tmp_path / "other", 48, seed=1)
    more = [f"data.held_out_from={other}", f"run.steps={steps}", f"run.validate_every={steps // 10}"]
    more += ["run.batch=16", "optimizer.lr=0.004", "optimizer.ema=0.98", "optimizer.warmup=20"]
    torch.set_num_threads(1)
    events = training.train(data, tmp_path / "run", config(*more))
    return [event for event in events if isinstance(event, Validated)]


def test_a_run_on_eight_pictures_is_seen_to_over_fit(tmp_path):
    found = verdicts(tmp_path, 8, 300)
    lowest = min(found, key=lambda event: event.loss)
    assert found[-1].overfitting_since == lowest.step
    assert found[-1].loss > 1.01 * lowest.loss


def test_a_run_on_many_pictures_is_not(tmp_path):
    found = verdicts(tmp_path, 600, 300)
    assert [event.overfitting_since for event in found] == [None] * len(found)
    assert found[-1].loss < found[0].loss
