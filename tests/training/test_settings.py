import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import tomllib

from unnoise.errors import FileError, InputError
from unnoise.training import (
    DataConfig,
    LoraConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    TrainConfig,
    run_folder,
    settings,
)


def test_toml_text_reads_back_as_the_same_configuration(tmp_path):
    config = settings.override(TrainConfig(), ["model.network.widths=64,128", 'run.sample_prompts=["a, b"]'])
    path = tmp_path / "config.toml"
    path.write_text(settings.dumps(config), encoding="utf-8")
    assert settings.read(path) == config
    assert config.model.network == {"widths": [64, 128]}
    assert config.run.sample_prompts == ("a, b",)


@pytest.mark.parametrize("kind", ["lora", "finetune"])
def test_of_a_model_that_is_there_already_no_defaults_are_written(tmp_path, kind):
    plain = settings.override(TrainConfig(), [f"{kind}.model=emoji"])
    sized = settings.override(plain, ["model.size=512"])
    path = tmp_path / "config.toml"
    for config, written in ((plain, None), (sized, {"size": 512})):
        path.write_text(settings.dumps(config), encoding="utf-8")
        assert tomllib.loads(path.read_text(encoding="utf-8")).get("model") == written
        assert settings.read(path) == config


@pytest.mark.parametrize("name", ["data.held_out_from", "run.sample_prompts"])
def test_a_name_that_is_no_text_is_refused_before_it_would_be_written(tmp_path, name):
    config = settings.override(TrainConfig(), [f"{name}={os.fsdecode(b'caf' + bytes([233]))}"])
    with pytest.raises(InputError, match=rf"^{name} is .*caf.udce9'.* which is not UTF-8"):
        run_folder.agree(tmp_path / "run", config, resume=False)
    assert not (tmp_path / "run").exists()


def test_a_file_may_begin_with_the_mark_that_editors_put_first(tmp_path):
    path = tmp_path / "config.toml"
    path.write_bytes("[run]\r\nsteps = 5\r\n".encode("utf-8-sig"))
    assert settings.read(path).run.steps == 5


@pytest.mark.parametrize(("text", "number"), [(".5", 0.5), ("1.", 1.0), ("-.5e-1", -0.05), ("5", 5.0)])
def test_numbers_are_read_as_people_write_them(text, number):
    """TOML knows `0.5` and `1.0` only."""
    config = settings.override(
        TrainConfig(), [f"loss.mean={text}", f"model.network.time_scale={text}", "optimizer.betas=.5,.25"]
    )
    assert config.loss.mean == number
    assert config.model.network["time_scale"] == number
    assert config.optimizer.betas == (0.5, 0.25)


@pytest.mark.parametrize("steps", [1.5, "10", True, None])
def test_what_python_gives_is_checked_as_what_a_file_says(steps):
    with pytest.raises(InputError, match=r"^run\.steps is .*; give a"):
        RunConfig(steps=steps)


def test_numbers_lists_and_paths_of_other_kinds_are_what_a_file_says_of_them(tmp_path):
    given = TrainConfig(
        model=ModelConfig(network={"widths": np.array([64, 128])}),
        data=DataConfig(encoded_folder=tmp_path, mirror_guard=["left"], mirror=np.True_),
        optimizer=OptimizerConfig(lr=np.float32(0.5), ema=Fraction(1, 2), betas=np.array([0.5, 0.75])),
        run=RunConfig(steps=np.int64(5), seed=np.uint8(7)),
    )
    plain = TrainConfig(
        model=ModelConfig(network={"widths": [64, 128]}),
        data=DataConfig(encoded_folder=str(tmp_path), mirror_guard=("left",), mirror=True),
        optimizer=OptimizerConfig(lr=0.5, ema=0.5, betas=(0.5, 0.75)),
        run=RunConfig(steps=5, seed=7),
    )
    agreed = run_folder.agree(tmp_path / "run", given, resume=False)
    assert agreed == plain
    assert settings.dumps(given) == settings.dumps(agreed) == settings.dumps(plain)
    with pytest.raises(InputError, match=r"^run\.sample_prompts is 'a cat'; give a list"):
        run_folder.agree(tmp_path / "run", TrainConfig(run=RunConfig(sample_prompts="a cat")), resume=False)


def test_a_number_beyond_all_floats_is_a_number_still():
    assert RunConfig(steps=10**400).steps == 10**400
    with pytest.raises(InputError, match=r"^model\.size is 1.*; give a whole number from 4 to 4,096"):
        settings.override(TrainConfig(), [f"model.size=1{'0' * 400}"])
    with pytest.raises(InputError, match=r"^run\.steps is '9*\.\.\.; give a whole number"):
        settings.override(TrainConfig(), [f"run.steps={'9' * 5000}"])


def test_a_table_made_in_python_holds_what_it_declares_and_refuses_the_rest_by_its_section():
    made = LoraConfig(Path("a/model"), rank=np.int64(4), targets=["attention"])
    assert made == LoraConfig("a/model", 4, targets=("attention",))
    assert (type(made.model), type(made.rank), type(RunConfig(steps=np.int64(3)).steps)) == (str, int, int)
    with pytest.raises(
        InputError, match=r"^lora\.rank is '4'; give a whole number from 1 to 4,096, for example 8"
    ):
        LoraConfig(rank="4")
    with pytest.raises(InputError, match=r"^lora\.dora is 1; give true or false"):
        LoraConfig(dora=1)


def test_a_file_may_leave_out_all_that_keeps_its_default():
    assert settings.from_dict({"run": {"steps": 5}}).run.steps == 5
    assert settings.from_dict({}) == TrainConfig()


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("run.steps=12", lambda config: config.run.steps == 12),
        ("optimizer.lr=1", lambda config: config.optimizer.lr == 1.0),
        ("optimizer.betas=0.8,0.9", lambda config: config.optimizer.betas == (0.8, 0.9)),
        ("data.mirror=true", lambda config: config.data.mirror is True),
        ("model.prediction=noise", lambda config: config.model.prediction == "noise"),
        ("model.schedule.kind=flow", lambda config: config.model.schedule == {"kind": "flow"}),
        ("model.card.author.name=me", lambda config: config.model.card == {"author": {"name": "me"}}),
    ],
)
def test_a_flag_is_read_as_its_field_asks(assignment, value):
    assert value(settings.override(TrainConfig(), [assignment]))


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("run.stepz=4", "did you mean run.steps"),
        ("steps=4", "did you mean run.steps"),
        ("zzz.qqq=4", "the tables are model"),
        ("run.steps", "has no '='"),
        ("run.steps=0", "run.steps is 0; give a whole number of at least 1"),
        ("run.steps=1.5", "run.steps is 1.5; give a whole number"),
        ("run.steps=true", "run.steps is True; give a whole number"),
        ("run.batch=-1", "run.batch is -1"),
        ("run.accumulate=3", "a divisor of run.batch"),
        ("optimizer.lr=nan", "optimizer.lr is nan"),
        ("optimizer.lr=inf", "optimizer.lr is inf"),
        ("optimizer.betas=0.9", "give a list of 2"),
        ("optimizer.betas=0.9,x", "optimizer.betas is 'x'"),
        ("data.mirror=maybe", "data.mirror is 'maybe'; give true or false"),
        ("loss.times=never", "one of uniform, logit_normal, log_normal"),
        ("model.size.deep=1", "'model.size.deep' is not a setting"),
        ("model.schedule.kind.deep=1", "'model.schedule.kind.deep' is not a setting"),
    ],
)
def test_a_bad_flag_names_its_field_and_a_way_on(assignment, words):
    with pytest.raises(InputError, match="^.*" + words.replace("(", r"\(")):
        settings.override(TrainConfig(), [assignment])


def test_a_file_that_cannot_be_used_is_named(tmp_path):
    with pytest.raises(FileError, match=r"nothing\.toml"):
        settings.read(tmp_path / "nothing.toml")
    (tmp_path / "bad.toml").write_text("[run\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"bad\.toml' is not TOML"):
        settings.read(tmp_path / "bad.toml")
    (tmp_path / "odd.toml").write_text("run = 3\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"odd\.toml': run is 3; give a table"):
        settings.read(tmp_path / "odd.toml")


def test_differences_are_dotted_keys():
    changed = settings.override(TrainConfig(), ["run.steps=5", "model.network.widths=[32]"])
    assert settings.differences(TrainConfig(), changed) == ["run.steps", "model.network.widths"]
