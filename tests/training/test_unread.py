"""A setting that was changed and that nothing reads is told before the first step; one that is read is not."""

import dataclasses

import pytest

from unnoise.training import TrainConfig, settings, unread

PLAIN = {"captioned": True, "latents": False, "held_out": False}


def told(changes, **facts):
    return unread.notes(settings.override(TrainConfig(), changes), **(PLAIN | facts))


@pytest.mark.parametrize(
    ("idle", "reader", "facts"),
    [
        ("model.text.width=16", "", {"captioned": True}),
        ("model.words=words.safetensors", "", {"captioned": True}),
        ("loss.caption_dropout=0.5", "", {"captioned": True}),
        ("loss.gamma=3", "loss.weight=min_snr", {}),
        ("loss.p2_k=2", "loss.weight=p2", {}),
        ("loss.sigma_data=1", "loss.weight=edm", {}),
        ("loss.bound=0.1", "model.variance=learned_range", {}),
        ("loss.std=2", "loss.times=log_normal", {}),
        ("data.mirror_guard=up,down", "data.mirror=true", {}),
        ("data.fill=edge", "data.scale=0.1", {}),
        ("data.latents=mean", "", {"latents": True}),
        ("data.encoded_folder=kept", "", {"latents": True}),
        ("optimizer.profiles=0.2", "optimizer.profile_every=5", {}),
        ("run.validate_every=5", "", {"held_out": True}),
        ("lora.rank=4", "lora.model=digits", {}),
        ("finetune.text_encoder=true", "finetune.model=digits", {}),
        ("prior.count=5", "prior.prompt=a dog", {}),
    ],
)
def test_a_setting_is_told_until_something_reads_it(idle, reader, facts):
    bare = dict.fromkeys(PLAIN, False)
    name = idle.partition("=")[0].removesuffix(".width")
    base = ["finetune.model=digits"] if idle.startswith("prior") else []
    (note,) = told([*base, idle], **bare)
    assert note.startswith(f"{name} is set, and does nothing here: it needs ")
    assert told([*base, idle, *([reader] if reader else [])], **(bare | facts)) == []


def test_settings_that_exclude_each_other_are_told():
    assert [note.split()[0] for note in told(["loss.times=log_normal", "loss.shift=3"])] == ["loss.shift"]
    assert [note.split()[0] for note in told(["data.caption=a cat", "data.captions=text"])] == [
        "data.captions"
    ]
    assert [note.split()[0] for note in told(["run.sample_every=0", "run.sample_prompts=a"])] == [
        "run.sample_prompts"
    ]


def test_of_a_run_as_it_is_by_default_nothing_is_told():
    assert unread.notes(TrainConfig(), captioned=False, latents=False, held_out=False) == []


def test_every_name_is_a_setting():
    tables = {field.name: field.default_factory() for field in dataclasses.fields(TrainConfig)}
    for names in unread._readers(TrainConfig(), **PLAIN):
        for table, _, key in (name.partition(".") for name in names.split()):
            assert hasattr(tables[table], key)
