"""`model.json`: what a model folder says of its model. Plain values from a list of allowed names; torch-free."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from unnoise.errors import CheckpointError, InputError
from unnoise.files import read_table
from unnoise.limits import Declared, Finite, as_declared, is_whole, typed

FILE = "model.json"
WEIGHTS = "weights.safetensors"
FORMAT, VERSION = "unnoise", 1

# A file, ours or another program's, must not make us build for minutes before its tensors are compared with what it
# describes.
_OURS = ("blocks", "attention", "mid_attention", "layers")
_THEIRS = ("layers_per_block", "transformer_layers_per_block", "num_hidden_layers", "num_res_blocks")
_DEEPEST = dict.fromkeys(_OURS, 200) | dict.fromkeys(_THEIRS, 100)  # ours: as many as a UNetConfig takes
_LONGEST, WIDEST = 100, 2**17


@dataclass(frozen=True)
class Defaults(Declared):
    """What a picture is made with when nothing else is asked. scheduler: a name, as `unnoise schedulers` lists."""

    steps: Annotated[int, (1, 1000)] = 20
    guidance: Finite = 1.0
    scheduler: str = "DPM++ 2M"

    def __post_init__(self) -> None:
        as_declared(self, "defaults.")

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Defaults:
        """From plain values; what is absent keeps its default. Raises InputError for another name or type."""
        known = [item.name for item in fields(cls)]
        for name in table:
            if name not in known:
                raise InputError(f"'{name}' is not a default of a model; these are {', '.join(known)}.")
        return cls(**table)


@dataclass(frozen=True)
class Manifest:
    """The content of `model.json`.

    network, text_encoder: fields of `UNetConfig` and `TextEncoderConfig`. vocabulary: as
    `text.tokenizer_from_config` takes it. schedule: as `process.schedule_from_config` takes it. size:
    channels, height, width of a picture. card: facts for people (summary, prompts, data, licence).
    sha256: of the weights' file.
    """

    network: dict[str, Any]
    schedule: dict[str, Any]
    size: tuple[int, int, int]
    sha256: str
    text_encoder: dict[str, Any] | None = None
    vocabulary: dict[str, Any] | None = None
    prediction: str = "noise"
    variance: str = "fixed_small"
    clip: float | None = None
    defaults: Defaults = field(default_factory=Defaults)
    card: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The text of `model.json`."""
        table = {"format": FORMAT, "version": VERSION, **asdict(self)}
        return json.dumps(table, indent=1, ensure_ascii=False) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """What `folder/model.json` says.

    Raises CheckpointError when it cannot be read, is of another format, or has a name or value that is not
    on the list: nothing in it can name code.
    """
    path = folder / FILE
    table = read_table(path)
    if table.pop("format", None) != FORMAT:
        raise CheckpointError(
            f"'{path}' does not describe an unnoise model; give a folder that unnoise wrote."
        )
    version = table.pop("version", None)
    if version != VERSION:
        raise CheckpointError(
            f"'{path}' has format version {version!r}; this unnoise reads version {VERSION}."
        )
    with making_sense(f"'{path}' does not describe a model"):
        return _manifest(table)


@contextmanager
def making_sense(fault: str) -> Iterator[None]:
    """A block that reads what others wrote; where that makes no sense, CheckpointError, which begins with `fault`."""
    try:
        yield
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RuntimeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        mend = "" if isinstance(error, InputError) else "; fetch it again."
        raise CheckpointError(f"{fault}: {reason}{mend}") from error


def _manifest(table: dict[str, Any]) -> Manifest:
    known = get_type_hints(Manifest) | {"defaults": dict, "size": Any}
    for name, value in table.items():
        if name not in known:
            raise InputError(f"'{name}' is not part of a model's description; these are {', '.join(known)}.")
        typed(f"'{name}'", value, known[name])
    for name in ("network", "schedule", "size", "sha256"):
        if name not in table:
            raise InputError(f"it lacks '{name}'; fetch the model again.")
    for name in ("network", "text_encoder"):
        _check_plain(name, table.get(name) or {})
    size, clip = table["size"], table.get("clip")
    if not isinstance(size, list) or len(size) != 3 or not all(is_whole(side, 1, WIDEST) for side in size):
        raise InputError(f"'size' is {size!r}; three whole numbers were expected: channels, height, width.")
    if clip is not None and clip <= 0:
        raise InputError(f"'clip' is {clip!r}; a positive number or null was expected.")
    return Manifest(
        **{**table, "size": tuple(size), "defaults": Defaults.from_table(table.get("defaults", {}))}
    )


def _check_plain(where: str, table: Mapping[str, Any]) -> None:
    for name, value in table.items():
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(v, int | float | str | None) for v in values):
            raise InputError(
                f"{where}.{name} is {str(value)[:80]}; a plain value or a short list was expected."
            )
    check_numbers(table, f"{where}.")


def check_numbers(table: Mapping[str, Any], where: str = "") -> None:
    """Refuse numbers of no real network, and long lists. where: goes before the names. Raises InputError."""
    for name, value in table.items():
        values = value if isinstance(value, list) else [value]
        limit = _DEEPEST.get(name, WIDEST)
        if len(values) > _LONGEST or any(isinstance(v, int | float) and not abs(v) <= limit for v in values):
            raise InputError(
                f"{where}{name} is {str(value)[:80]}; at most {limit:,} is read, and {_LONGEST} in a list."
            )
