"""`TrainConfig` from and to TOML, and changed one value at a time by dotted key."""

from __future__ import annotations

import dataclasses
import difflib
import sys
import typing
from collections.abc import Iterable, Mapping
from numbers import Real
from pathlib import Path, PurePath
from typing import Any

from unnoise.errors import FileError, InputError
from unnoise.training.config import TrainConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Values that a resumed run may change: none of them alters what an already trained step computed.
_FREE = {
    "run": "steps workers recompute shard device log_every checkpoint_every keep sample_every validate_every "
    "sample_prompts patience tensorboard",
    "data": "cache_mb strict encoded_mb encoded_folder encoded_folder_mb",
}
_SECTIONS = typing.get_type_hints(TrainConfig)
_KINDS = {section: typing.get_type_hints(kind) for section, kind in _SECTIONS.items()}
FREE_ON_RESUME = frozenset(f"{table}.{name}" for table, names in _FREE.items() for name in names.split())


def from_dict(tables: Mapping[str, Any]) -> TrainConfig:
    """A checked `TrainConfig` from nested mappings; whatever is absent keeps its default.

    Raises InputError for an unknown key (with the nearest known ones) and for a value of another type.
    """
    made = {}
    for section, table in tables.items():
        if section not in _KINDS:
            raise _unknown(section)
        if not isinstance(table, Mapping):
            raise InputError(f"{section} is {table!r}; give a table of settings.")
        for key in table:
            if key not in _KINDS[section]:
                raise _unknown(f"{section}.{key}")
        made[section] = _SECTIONS[section](**table)
    return TrainConfig(**made)


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """Nested plain values, as TOML holds them."""
    return typing.cast(dict[str, Any], _plain(dataclasses.asdict(config)))


def read(path: str | Path) -> TrainConfig:
    """The configuration in a TOML file. Raises FileError or InputError with the file's name."""
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))  # editors put a mark first
    except OSError as error:
        raise FileError(
            f"cannot read '{path}': {error.strerror or error}. Give a TOML file of settings."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"'{path}' is not TOML: {error}. Mend that line, or start without the file."
        ) from error
    try:
        return from_dict(tables)
    except InputError as error:
        raise InputError(f"'{path}': {error}") from error


def dumps(config: TrainConfig) -> str:
    """The configuration as TOML text; `read` of it gives an equal configuration.

    Of a model that is there already no defaults are written: its own size, network and schedule hold.
    Raises InputError, naming the setting, for the name of a file that is no text: TOML has no other bytes.
    """
    import tomli_w

    tables = to_dict(config)
    if config.tuned:
        usual = to_dict(TrainConfig())["model"]
        tables["model"] = {name: value for name, value in tables["model"].items() if value != usual[name]}
    for name, value in _flat(tables).items():
        try:
            tomli_w.dumps({name: value}).encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"{name} is {value!a}, which is not UTF-8; write it so, or rename that file."
            ) from error
    return tomli_w.dumps({name: table for name, table in tables.items() if table})


def override(config: TrainConfig, assignments: Iterable[str]) -> TrainConfig:
    """A copy with each "section.key=value" put in; the text is read according to the field's type.

    Lists are written with commas ("64,128") or as in TOML. Below a table field (`model.network`,
    `model.schedule`, ...) any key is taken, and checked by what uses it.
    """
    tables = to_dict(config)
    for assignment in assignments:
        dotted, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(
                f"--set {assignment} has no '='; write section.key=value, for example run.seed=7."
            )
        _assign(tables, dotted.strip(), text.strip())
    return from_dict(tables)


def differences(old: TrainConfig, new: TrainConfig) -> list[str]:
    """Dotted keys whose values differ, in the order of the tables."""
    before, after = _flat(to_dict(old)), _flat(to_dict(new))
    return [key for key in {**before, **after} if before.get(key) != after.get(key)]


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _plain(value: Any) -> Any:  # noqa: ANN401 - TOML's own values
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "tolist"):  # NumPy's numbers and arrays, which is not imported for them
        return _plain(value.tolist())
    if isinstance(value, PurePath):
        return str(value)
    return float(value) if isinstance(value, Real) and not isinstance(value, int) else value


def _unknown(name: str) -> InputError:
    known = [f"{section}.{key}" for section, kinds in _KINDS.items() for key in kinds]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    near = near or [key for key in known if key.endswith(f".{name.rpartition('.')[2]}")]
    hint = f"did you mean {', '.join(near)}?" if near else f"the tables are {', '.join(_KINDS)}."
    return InputError(f"'{name}' is not a setting; {hint}")


def _assign(tables: dict[str, Any], dotted: str, text: str) -> None:
    section, _, rest = dotted.partition(".")
    key, *deeper = rest.split(".")
    if key not in _KINDS.get(section, ()):
        raise _unknown(dotted)
    kind, table = _KINDS[section][key], tables[section]
    if not deeper:
        table[key] = _parse(dotted, text, kind)
        return
    if typing.get_origin(kind) is not dict:
        raise _unknown(dotted)
    for name in [key, *deeper[:-1]]:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise InputError(f"'{dotted}' is not a setting; {section}.{name} is no table but {table!r}.")
    table[deeper[-1]] = _parse(dotted, text, object)


def _parse(name: str, text: str, kind: Any) -> Any:  # noqa: ANN401
    """Text of a flag as a value of `kind`; `object` leaves the choice to the text."""
    if kind is str:
        return text
    if typing.get_origin(kind) is tuple and not text.startswith("["):
        item = typing.get_args(kind)[0]
        return [_parse(name, part.strip(), item) for part in text.split(",") if part.strip()]
    if kind is float and text.lower() in ("nan", "inf", "-inf"):
        return float(text)
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:  # no TOML, or a number of more digits than Python reads
        pass
    if "," in text and kind is object:
        return [_parse(name, part.strip(), object) for part in text.split(",") if part.strip()]
    return text
