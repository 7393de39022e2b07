"""The words and ControlNets of a picture that is to be repeated, looked up in the folders that were given alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from unnoise import images
from unnoise.checkpoints.controlnet import Control
from unnoise.checkpoints.hashes import WEIGHTS, fits, picture_in, weights_in
from unnoise.checkpoints.model import Model
from unnoise.errors import FileError
from unnoise.files import expanded
from unnoise.pipelines.recipe_adapters import WantedControl, WantedWord, part_of


@dataclass(frozen=True)
class Folders:
    """Where the files that a recipe names are looked for; None: nowhere. controls: ControlNets and their pictures."""

    loras: str | Path | None = None
    embeddings: str | Path | None = None
    controls: str | Path | None = None


@dataclass(frozen=True)
class Steering:
    """A ControlNet to be loaded, with its picture."""

    file: Path
    picture: Image.Image
    strength: float
    start: float
    end: float


@dataclass(frozen=True)
class Parts:
    """What came of the search. words: files, and the word of each. notes: what is not as it was, a sentence each."""

    words: tuple[tuple[Path, str], ...] = ()
    controls: tuple[Steering, ...] = ()
    notes: tuple[str, ...] = ()


def look(told: Sequence[str], model: Model, folders: Folders) -> Parts:
    """What of this the model does not have yet. Raises FileError for a folder that is not there."""
    words, controls, notes = [], [], []
    for text in told:
        part = part_of(text)
        found: tuple[Path, str] | Steering | None = None
        if isinstance(part, WantedWord):
            found, said = _word(part, model, folders.embeddings)
        elif isinstance(part, WantedControl):
            found, said = _control(text, part, model, folders.controls)
        elif text.startswith("refiner "):
            said = _refiner(text, model)
        else:
            said = [f"its adapter '{text}' is not applied"]
        notes += said
        if isinstance(found, Steering):
            controls.append(found)
        elif found is not None:
            words.append(found)
    return Parts(tuple(words), tuple(controls), tuple(notes))


def _word(
    part: WantedWord, model: Model, folder: str | Path | None
) -> tuple[tuple[Path, str] | None, list[str]]:
    name = f"word '{part.word}'"
    here = next((one for one in model.taught if one.word.casefold() == part.word.casefold()), None)
    if here is not None:
        other = not here.sha256.startswith(part.digest)
        return None, [another(name, part.digest, here.name)] if other else []
    what = f"the {name} of the embedding '{part.name}'"
    file, notes = find(what, part.name, part.digest, folder, "--embedding-dir")
    return (None if file is None else (file, part.word)), notes


def _control(
    told: str, part: WantedControl, model: Model, folder: str | Path | None
) -> tuple[Steering | None, list[str]]:
    name = f"ControlNet '{part.name}'"
    here = [one for one in model.controls if one.name == part.name]
    if here:
        same = any(one.told == told for one in here)
        return None, [] if same else list(_apart(name, part, here[0]))
    file, notes = find(f"its {name}", part.name, part.digest, folder, "--control-dir", folders=True)
    if file is None or folder is None:
        return None, notes
    picture = picture_in(expanded(folder), part.picture)
    if picture is None:
        which = f"hash {part.picture}" if part.picture else "which this recipe does not tell"
        why = f"its picture ({which}) is not in '{folder}'; give both with --control and --control-image"
        return None, [f"its {name} is not applied: {why}"]
    return Steering(file, images.open_picture(picture), part.strength, part.start, part.end), notes


def _refiner(told: str, model: Model) -> list[str]:
    here = model.refiner is not None and model.refiner.told == told
    return [] if here else [f"its {told} is not applied; give it again (--refiner)"]


def _apart(name: str, part: WantedControl, here: Control) -> Iterator[str]:
    if part.digest and not here.sha256.startswith(part.digest):
        yield another(name, part.digest, here.name)
    if part.picture and not here.picture_sha256.startswith(part.picture):
        yield f"the picture of {name} had the hash {part.picture}; the one given is another"
    before, now = (f"{one.strength:g} in the steps {one.start:g} to {one.end:g}" for one in (part, here))
    if before != now:
        yield f"{name} is at {now} here and was at {before}"


def find(
    what: str, name: str, digest: str, folder: str | Path | None, option: str, folders: bool = False
) -> tuple[Path | None, list[str]]:
    """The file of this hash, else of this name, in the folder; and why there is none, or that it is another.

    Nothing is looked for elsewhere: such names are what a stranger's picture gives. folders: whether it may be a
    diffusers folder.
    """
    known = f" (hash {digest})" if digest else ""
    if folder is None:
        return None, [f"{what}{known} is not applied; its folder is not given ({option})"]
    place = expanded(folder)
    if not place.is_dir():
        raise FileError(f"there is no folder '{folder}'; give one that exists with {option}.")
    named = _named(place, name, folders)
    if named is not None and (named.is_dir() or fits(named, digest)):
        return named, []
    found = weights_in(place, digest)
    if found is not None:
        return found, []
    if named is not None:
        return named, [another(what, digest, named.name)]
    return None, [f"{what}{known} is not applied; no file in '{folder}' has its name or its hash"]


def _named(folder: Path, name: str, folders: bool) -> Path | None:
    """The file of weights, or the diffusers folder, of this name; with its ending or without."""
    each = (path for path in sorted(folder.rglob("*")) if name in (path.name, path.stem))
    for path in each:
        if path.suffix.lower() in WEIGHTS or (folders and (path / "config.json").is_file()):
            return path
    return None


def another(what: str, digest: str, file: str) -> str:
    """That a file has another hash than the one that was used."""
    return f"{what} had the hash {digest}; the file '{file}' is another"
