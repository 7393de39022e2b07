"""What a picture was made of, as text that people and other tools read, and as JSON without loss. Torch-free."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from unnoise.errors import FileError, InputError

NEGATIVE = "Negative prompt: "
# Grids that A1111 writes as "Schedule type", apart from the sampler's name.
_GRIDS = (
    "Karras",
    "Exponential",
    "Polyexponential",
    "SGM Uniform",
    "Uniform",
    "KL Optimal",
    "Simple",
    "Normal",
)
# A1111 leaves out of its text what has its default value, so a reader must know them.
_A1111 = {"Steps": "20", "Sampler": "DPM++ 2M", "CFG scale": "7", "Seed": "0", "Size": "512x512"}


@dataclass(frozen=True)
class Recipe:
    """Everything that makes the same picture again.

    prompt, negative: the texts. seed: of this picture alone, whatever its batch was. steps, guidance,
    scheduler: of the sampling. compat: the program whose values the scheduler has, if not the right ones.
    width, height: in pixels. model, model_hash: the model's name and the sha256 of its weights. own_noise: the
    start was given by the caller (`latents`), so the seed alone does not make it again. adapters: LoRAs, each
    file:weight:hash, parted by commas. version: of unnoise.
    """

    prompt: str
    negative: str = ""
    seed: int = 0
    steps: int = 20
    guidance: float = 1.0
    scheduler: str = ""
    compat: str = ""
    width: int = 0
    height: int = 0
    model: str = ""
    model_hash: str = ""
    own_noise: bool = False
    adapters: str = ""
    version: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def to_json(self) -> str:
        """JSON in ASCII: every text comes back exactly, lone surrogates too."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """The inverse of `to_json`. Raises InputError for text that is no recipe."""
        try:
            table = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"this is not a recipe in JSON: {error}.") from error
        if not isinstance(table, dict):
            raise InputError("a recipe in JSON is a table; this is something else.")
        return cls.from_dict(table)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Recipe:
        """The inverse of `to_dict`; names of a later version are passed over. Raises InputError."""
        values = {item.name: table[item.name] for item in fields(cls) if item.name in table}
        if "prompt" not in values:
            raise InputError("this recipe has no prompt; give one that unnoise wrote.")
        for name, value in values.items():
            kind = type(getattr(_EXAMPLE, name))
            wanted = (int, float) if kind is float else kind
            if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
                raise InputError(f"the recipe's {name} is {value!r}; a {kind.__name__} was expected.")
        return cls(**values)

    def to_parameters(self) -> str:
        """The text that A1111 and its kin read: prompt, negative prompt, then a line of settings."""
        sampler, grid = _split(self.scheduler)
        settings = {
            "Steps": self.steps,
            "Sampler": sampler,
            "Schedule type": grid,
            "CFG scale": f"{self.guidance:g}",
            "Seed": self.seed,
            "Size": f"{self.width}x{self.height}",
            "Model hash": self.model_hash[:10],
            "Model": self.model,
            "Version": f"unnoise {self.version}",
        }
        lines = [self.prompt, NEGATIVE + self.negative] if self.negative else [self.prompt]
        line = ", ".join(f"{name}: {_quoted(str(value))}" for name, value in settings.items() if value != "")
        return "\n".join([*lines, line])

    @classmethod
    def from_parameters(cls, text: str) -> Recipe:
        """A recipe from the text of A1111, of its kin, or of `to_parameters`.

        What the text leaves out takes A1111's default. Raises InputError where the settings make no sense.
        """
        lines = text.split("\n")
        last = max(
            (place for place, line in enumerate(lines) if line.startswith("Steps: ")), default=len(lines)
        )
        given = _settings("".join(lines[last : last + 1]))
        found = _A1111 | given
        prompt, negative = _prompts(lines[:last])
        grid = found.get("Schedule type", "Automatic")
        try:
            width, height = (int(part) for part in found["Size"].split("x"))
            return cls(
                prompt=prompt,
                negative=negative,
                seed=int(found["Seed"]),
                steps=int(found["Steps"]),
                guidance=float(found["CFG scale"]),
                scheduler=found["Sampler"] if grid == "Automatic" else f"{found['Sampler']} {grid}",
                width=width,
                height=height,
                model=found.get("Model", ""),
                model_hash=found.get("Model hash", ""),
                version=found.get("Version", "").removeprefix("unnoise "),
            )
        except ValueError as error:
            raise InputError(
                f"the settings '{', '.join(given)}' of this text make no sense: {error}."
            ) from error

    @classmethod
    def from_png(cls, path: str | Path) -> Recipe:
        """The recipe in a picture: ours without loss when it is there, else A1111's text. Raises FileError."""
        from unnoise import images

        text = images.read_text(Path(path))
        if "unnoise" in text:
            return cls.from_json(text["unnoise"])
        if "parameters" in text:
            return cls.from_parameters(text["parameters"])
        raise FileError(f"'{path}' holds no recipe; give a PNG that unnoise or A1111 wrote.")

    def png_text(self) -> dict[str, str]:
        """The text chunks of a PNG: "parameters" for people and other tools, "unnoise" without loss."""
        return {"parameters": self.to_parameters(), "unnoise": self.to_json()}


_EXAMPLE = Recipe("", guidance=1.0)


def _split(scheduler: str) -> tuple[str, str]:
    """Sampler and schedule type of a joined name such as "DPM++ 2M Karras"."""
    for grid in _GRIDS:
        if scheduler.endswith(f" {grid}"):
            return scheduler.removesuffix(f" {grid}"), grid
    return scheduler, ""


def _prompts(lines: list[str]) -> tuple[str, str]:
    place = next((place for place, line in enumerate(lines) if line.startswith(NEGATIVE)), len(lines))
    return "\n".join(lines[:place]), "\n".join(lines[place:]).removeprefix(NEGATIVE)


def _quoted(value: str) -> str:
    return json.dumps(value) if any(mark in value for mark in ',:\n"') else value


def _settings(line: str) -> dict[str, str]:
    """Names and values of a line such as `Steps: 20, Model: "a, b"`; one pass, whatever the text."""
    found, rest = {}, line
    while ": " in rest:
        name, _, rest = rest.partition(": ")
        if rest.startswith('"'):
            try:
                value, length = json.JSONDecoder().raw_decode(rest)
                rest = rest[length:].removeprefix(",")
            except ValueError:
                value, _, rest = rest.partition(",")
        else:
            value, _, rest = rest.partition(",")
        found[name.strip()] = str(value).strip()
    return found
