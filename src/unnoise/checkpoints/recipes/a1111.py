"""The text `parameters`: A1111's web UI, and all that write as it does (Forge, SD.Next, stable-diffusion.cpp, ...).

Lines of prompt, lines of negative prompt, then one line `Steps: 20, Sampler: Euler a, ...`, whose values are
quoted as JSON where they hold a comma. What has A1111's default value may be left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from unnoise.checkpoints.recipes.found import FoundRecipe, Number, number, senseless, whole
from unnoise.errors import InputError

NEGATIVE = "Negative prompt: "
_LONGEST = 100_000  # characters of a line of settings; a real one has a few thousand
_FEWEST = 3  # settings that make a last line one of settings and not of prompt
_DEFAULTS = {"Steps": "20", "Sampler": "DPM++ 2M", "CFG scale": "7", "Seed": "0", "Size": "512x512"}
_LORA = re.compile(r"<lora:([^:<>]{1,200}):([-+.\d]{1,12})[^<>]{0,200}>")
_TAKEN = (
    "Steps, Sampler, Schedule type, Scheduler, Sampler sigma, CFG scale, Seed, Size, Model, App, Model hash, "
    "Base model, Base model hash, Version, RNG, Raw prompt, Raw negative prompt, Metadata scheme"
)


def read(text: str, usual: Mapping[str, str] = _DEFAULTS) -> FoundRecipe:
    """What the text says. usual: what A1111 and Forge may have left out of their texts.

    Raises InputError where its settings make no sense.
    """
    lines = text.rstrip("\0").replace("\r\n", "\n").split("\n")
    at = _settings_line(lines)
    given = settings(lines[at]) if at < len(lines) else {}
    prompt, negative = _prompts(lines[:at])
    program, version = _program(given)
    assumed = {name: value for name, value in usual.items() if name not in given}
    assumed = assumed if program in ("A1111", "Forge") else {}
    found = assumed | given
    width, height = _size(found)
    return FoundRecipe(
        program=program,
        version=version,
        prompt=given.get("Raw prompt", prompt),
        negative=given.get("Raw negative prompt", negative),
        seed=_told(found, "Seed", whole),
        steps=_told(found, "Steps", whole),
        guidance=_told(found, "CFG scale", number),
        sampler=found.get("Sampler", ""),
        grid=_grid(found, program),
        width=width,
        height=height,
        model=found.get("Model", found.get("Base model", "")),
        model_hash=found.get("Model hash", found.get("Base model hash", "")),
        noise=_noise(found, program),
        loras=tuple((name, number(weight) or 0.0) for name, weight in _LORA.findall(prompt)),
        more={name: value for name, value in given.items() if name not in _TAKEN.split(", ")},
        assumed=tuple(f"{name} {value}" for name, value in assumed.items()),
    )


def settings(line: str) -> dict[str, str]:
    """Names and values of a line such as `Steps: 20, Model: "a, b"`, whatever the text.

    Raises InputError for a line longer than any program writes.
    """
    if len(line) > _LONGEST:
        raise InputError(
            f"a line of settings of {len(line):,} characters is no recipe; give a picture with one."
        )
    found, rest = {}, line
    while ": " in rest:
        name, _, rest = rest.partition(": ")
        if rest[:1] in ('"', "[", "{"):
            try:
                value, length = json.JSONDecoder().raw_decode(rest)
                value = value if isinstance(value, str) else rest[:length]
                rest = rest[length:].lstrip().removeprefix(",")
            except (ValueError, RecursionError):
                value, rest = _until_comma(rest)
        else:
            value, rest = _until_comma(rest)
        found[name.rpartition(",")[2].strip()] = value
    return found


def _until_comma(text: str) -> tuple[str, str]:
    value, _, rest = text.partition(",")
    return value.strip(), rest


def _settings_line(lines: list[str]) -> int:
    """Its place: the last line that starts with `Steps: `, or a last line that holds several settings."""
    for place in range(len(lines) - 1, -1, -1):
        if lines[place].startswith("Steps: "):
            return place
    last = max((place for place, line in enumerate(lines) if line.strip()), default=len(lines))
    if (
        last < len(lines)
        and len(lines[last]) <= _LONGEST
        and len({"Sampler", "Seed", "CFG scale", "Size"} & set(settings(lines[last]))) >= _FEWEST
    ):
        return last
    return len(lines)


def _prompts(lines: list[str]) -> tuple[str, str]:
    mark = NEGATIVE.rstrip()  # an empty negative prompt may have lost its space
    place = next((place for place, line in enumerate(lines) if line.startswith(mark)), len(lines))
    negative = "\n".join(lines[place:]).removeprefix(mark).removeprefix(" ")
    return "\n".join(lines[:place]), negative


def _program(given: dict[str, str]) -> tuple[str, str]:
    version = given.get("Version", "")
    for program in ("unnoise", "Fooocus"):
        if version.startswith(program):
            return program, version.removeprefix(program).strip()
    if given.get("App", "") == "SD.Next" or {"Parser", "Backend", "Operations"} & set(given):
        return "SD.Next", version
    for mark, program in (("stable-diffusion.cpp", "stable-diffusion.cpp"), ("ComfyUI", "ComfyUI")):
        if version.startswith(mark):
            return program, version.removeprefix(mark).lstrip(" -")
    if "Created Date" in given or "Civitai metadata" in given:
        return "Civitai", version
    return ("Forge" if re.match(r"f\d|neo|classic", version) else "A1111"), version


def _grid(found: dict[str, str], program: str) -> str:
    """The schedule's name where it stands apart from the sampler's; "" for the sampler's own."""
    names = {"SD.Next": ("Sampler sigma",), "A1111": ("Schedule type",)}.get(
        program, ("Schedule type", "Scheduler")
    )
    grid = next((found[name] for name in names if name in found), "")
    return "" if grid.lower() in ("automatic", "default", "none") else grid


def _noise(found: dict[str, str], program: str) -> str:
    """A1111 draws on the graphics card unless the text says CPU; the values that "NV" names are the card's."""
    if program == "unnoise" and "RNG" not in found:
        return ""
    if program in ("A1111", "Forge", "SD.Next", "stable-diffusion.cpp", "unnoise"):
        return {"cpu": "torch", "std_default": ""}.get(found.get("RNG", "").lower(), "cuda")
    return "torch" if program in ("ComfyUI", "Fooocus") else ""


def _size(found: dict[str, str]) -> tuple[int | None, int | None]:
    if "Size" not in found:
        return None, None
    parts = [whole(part) for part in found["Size"].split("x")]
    if len(parts) != 2 or None in parts:
        raise senseless("Size", found["Size"])
    return parts[0], parts[1]


def _told(found: dict[str, str], name: str, kind: Callable[[object], Number | None]) -> Number | None:
    value = kind(found.get(name))
    if value is None and name in found:
        raise senseless(name, found[name])
    return value
