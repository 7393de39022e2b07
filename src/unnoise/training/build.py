"""From a configuration and the captions of the data to an untrained model."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch

from unnoise import checkpoints, randomness
from unnoise.checkpoints import Defaults, Model
from unnoise.errors import InputError
from unnoise.networks import UNet, UNetConfig
from unnoise.networks.text_encoder import TextEncoder, TextEncoderConfig, WordEmbedding
from unnoise.process import NoiseSchedule, schedule_from_config
from unnoise.schedulers import names
from unnoise.text import CompactTokenizer, WordTokenizer
from unnoise.training.config import ModelConfig
from unnoise.training.losses import chain_length
from unnoise.training.words import WordVectors

_DEFAULT_WIDTHS = (64, 128, 256)


def build_model(config: ModelConfig, captions: Iterable[str], seed: int) -> Model:
    """An untrained model, its first weights a function of `seed` alone.

    captions: the words of the data; their tokens become the vocabulary. None at all gives a model without
    text. Raises InputError, naming the setting, for parts that do not fit together.
    """
    if config.network.get("classes"):
        raise InputError("model.network.classes asks for labels, which a folder has none of; leave it out.")
    words = sorted(set(captions))
    schedule, defaults = schedule_from_config(config.schedule), _defaults(config)
    with randomness.torchs_own(seed, "weights"), torch.device("cpu"), _default_type(torch.float32):
        tokenizer, encoder = _text(config, words)
        network = UNet(_network_config(config, schedule, encoder.config.width if encoder else 0))
    # A new network learns at sizes that it halves without a rest, as OpenVINO's graph will need them.
    check_multiple("model.size", config.size, network.config.factor)
    if config.variance == "learned_range":
        chain_length(schedule)
    model = Model(
        network=network,
        text_encoder=encoder,
        tokenizer=tokenizer,
        schedule=schedule,
        prediction=config.prediction,
        variance=config.variance,
        clip=config.clip or None,
        shape=config.shape,
        defaults=defaults,
        card=dict(config.card),
    )
    model.diffuser  # noqa: B018 - refuses a prediction that the schedule cannot serve
    if config.start:
        begin_with(model, config.start)
    return model


@contextlib.contextmanager
def _default_type(dtype: torch.dtype) -> Iterator[None]:
    """A block in which new weights, and their draws, have this type, whatever the process is set to."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def _setting(name: str, what: str, where: str) -> Iterator[None]:
    """A function or block whose errors are told as what is wrong with a table of settings; where: of its fields."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    except (TypeError, LookupError) as error:
        raise InputError(f"{name} does not describe {what}: {error}. See {where}.") from error


@_setting("model.defaults", "how pictures are drawn", "checkpoints.Defaults")
def _defaults(config: ModelConfig) -> Defaults:
    found = Defaults.from_table(config.defaults)
    names.get(found.scheduler)  # a run of days should not end in a model that draws with no scheduler
    return found


def begin_with(model: Model, start: str) -> None:
    """Give the model the weights of another of the same make.

    Raises InputError, naming what differs, for one that is made otherwise.
    """
    other = checkpoints.load(start)
    own, given = _make_of(model), _make_of(other)
    for name in own:
        if own[name] != given.get(name):
            raise InputError(
                f"model.start is '{start}', whose {name.replace('_', ' ')} differs from this run's: "
                f"{_difference(own[name], given.get(name))}. Give the settings that it was trained with, or leave "
                "model.start out."
            )
    for name, part in model.parts.items():
        part.load_state_dict(other.parts[name].state_dict())


def _make_of(model: Model) -> dict[str, object]:
    return {**{name: part.config for name, part in model.parts.items()}, "vocabulary": model.tokenizer}


def _difference(own: object, given: object) -> str:
    if not isinstance(own, UNetConfig | TextEncoderConfig) or type(own) is not type(given):
        return "other words"
    mine, theirs = own.to_dict(), given.to_dict()
    return ", ".join(
        f"{name} {theirs[name]} there, {mine[name]} here" for name in mine if mine[name] != theirs[name]
    )


def _text(
    config: ModelConfig, words: list[str]
) -> tuple[CompactTokenizer | WordTokenizer | None, TextEncoder | None]:
    """Tokenizer and untrained encoder of the captions' words; none of both without any."""
    if not words:
        return None, None
    if not config.words:
        tokenizer = CompactTokenizer.from_captions(words)
        return tokenizer, TextEncoder(_text_config(config, tokenizer))
    known = WordVectors.read(config.words)
    known.check_captions(words)
    encoder = TextEncoder(_text_config(replace(config, text=known.settings() | config.text), known.tokenizer))
    assert isinstance(encoder.token_embedding, WordEmbedding)
    known.fill(encoder.token_embedding)
    return known.tokenizer, encoder


@_setting("model.network", "a UNet", "UNetConfig")
def _network_config(config: ModelConfig, schedule: NoiseSchedule, text_width: int) -> UNetConfig:
    channels = config.shape[0]
    learned = 2 if config.variance == "learned_range" else 1
    widths = tuple(config.network.get("widths", _DEFAULT_WIDTHS))
    values: dict[str, Any] = {
        "widths": widths,
        "norm_groups": math.gcd(32, *widths),
        "attention": (0,) * (len(widths) - 1) + (1,),
        "heads": math.gcd(4, *widths),
        "time_scale": _time_scale(schedule),
        **config.network,
        "in_channels": channels,
        "out_channels": channels * learned,
        "text_width": text_width,
    }
    if values.get("pooled_width"):
        values["pooled_width"] = text_width
    found = UNetConfig.from_dict(values)
    if text_width and not (any(found.attention) or found.mid_attention or found.pooled_width):
        raise InputError(
            "no attention and no pooled_width, so that nothing reads the captions; give mid_attention=1, or "
            "data.captions=none."
        )
    return found


def _time_scale(schedule: NoiseSchedule) -> float:
    """Brings the times that the network is told to a span of about a thousand, as the sinusoids expect."""
    ends = [schedule.network_time(level) for level in (schedule.cleanest, schedule.noisiest)]
    span = abs(float(ends[1]) - float(ends[0]))
    return 1.0 if span > 10.0 else 1000.0 / max(span, 1.0)


@_setting("model.text", "a text encoder", "TextEncoderConfig")
def _text_config(config: ModelConfig, tokenizer: CompactTokenizer | WordTokenizer) -> TextEncoderConfig:
    return replace(TextEncoderConfig.small(tokenizer.size, tokenizer.end), **config.text)


def check_multiple(name: str, value: int, unit: int, what: str = "network") -> None:
    """Raises InputError for a side of pictures that is no multiple of what the network, or a whole model, needs."""
    if value % unit:
        near = -(-value // unit) * unit
        raise InputError(f"{name} is {value}, but this {what} needs a multiple of {unit}; give {near}.")
