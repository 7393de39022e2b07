"""What a picture that is to be repeated was made with, looked up in the folders that were given, and nowhere else.

Names of files are what a stranger's picture gives: they lead to nothing outside of these folders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from unnoise import images
from unnoise.checkpoints.adapters import Applied, Lora
from unnoise.checkpoints.controlnet import Control
from unnoise.checkpoints.hashes import WEIGHTS, fits, picture_in, weights_in
from unnoise.checkpoints.model import Model
from unnoise.errors import FileError
from unnoise.files import expanded
from unnoise.pipelines.recipe_adapters import Wanted, WantedControl, WantedWord, part_of, plain_name


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


class Parts:
    """What came of the search.

    loras, words, controls: to be loaded; of a word its file and itself. missing: names of LoRAs that are nowhere.
    notes: what is not as it was, a sentence each.
    """

    def __init__(
        self, model: Model, folders: Folders, loras: Sequence[Wanted], others: Sequence[str]
    ) -> None:
        """Looks for what of this the model does not have yet. Raises FileError for a folder that is not there."""
        self._model, self._folders = model, folders
        self.loras: list[Lora] = []
        self.words: list[tuple[Path, str]] = []
        self.controls: list[Steering] = []
        self.missing: set[str] = set()
        self.notes: list[str] = []
        for one in loras:
            self._lora(one)
        for told in others:
            self._other(told)

    def _lora(self, one: Wanted) -> None:
        here = {Path(have.adapter.name).stem: have for have in self._model.adapters}
        if one.name in here:
            self.notes += _lora_apart(one, here[one.name])
            return
        what = f"LoRA '{one.name}' at {one.lora.weight:g}"
        file = self._file(what, one.name, one.digest, self._folders.loras, "--lora-dir")
        if file is None:
            self.missing |= {one.name, str(one.lora.file)}
        else:
            name = "" if plain_name(file.name) == one.name else one.name
            self.loras.append(replace(one.lora, file=file, name=name))

    def _other(self, told: str) -> None:
        part, refiner = part_of(told), self._model.refiner
        if isinstance(part, WantedWord):
            self._word(part)
        elif isinstance(part, WantedControl):
            self._control(told, part)
        elif not told.startswith("refiner "):
            self.notes.append(f"its adapter '{told}' is not applied")
        elif refiner is None or refiner.told != told:
            self.notes.append(f"its {told} is not applied; give it again (--refiner)")

    def _word(self, part: WantedWord) -> None:
        name = f"word '{part.word}'"
        here = next((one for one in self._model.taught if one.word.casefold() == part.word.casefold()), None)
        if here is None:
            what = f"the {name} of the embedding '{part.name}'"
            file = self._file(what, part.name, part.digest, self._folders.embeddings, "--embedding-dir")
            self.words += [] if file is None else [(file, part.word)]
        elif not here.sha256.startswith(part.digest):
            self.notes.append(_another(name, part.digest, here.name))

    def _control(self, told: str, part: WantedControl) -> None:
        name, folder = f"ControlNet '{part.name}'", self._folders.controls
        here = [one for one in self._model.controls if one.name == part.name]
        if here:
            same = any(one.told == told for one in here)
            self.notes += [] if same else _control_apart(name, part, here[0])
            return
        file = self._file(f"its {name}", part.name, part.digest, folder, "--control-dir", folders=True)
        if file is None or folder is None:
            return
        picture = picture_in(expanded(folder), part.picture)
        if picture is None:
            which = f"hash {part.picture}" if part.picture else "which this recipe does not tell"
            why = f"its picture ({which}) is not in '{folder}'; give both with --control and --control-image"
            self.notes.append(f"its {name} is not applied: {why}")
            return
        self.controls.append(
            Steering(file, images.open_picture(picture), part.strength, part.start, part.end)
        )

    def _file(
        self, what: str, name: str, digest: str, folder: str | Path | None, option: str, folders: bool = False
    ) -> Path | None:
        """The file of this hash, else of this name; notes why there is none, or that it is another.

        folders: whether it may be a diffusers folder.
        """
        known = f" (hash {digest})" if digest else ""
        if folder is None:
            self.notes.append(f"{what}{known} is not applied; its folder is not given ({option})")
            return None
        place = expanded(folder)
        if not place.is_dir():
            raise FileError(f"there is no folder '{folder}'; give one that exists with {option}.")
        named = _named(place, name, folders)
        if named is not None and (named.is_dir() or fits(named, digest)):
            return named
        found = weights_in(place, digest)
        if found is None and named is not None:
            self.notes.append(_another(what, digest, named.name))
        elif found is None:
            self.notes.append(f"{what}{known} is not applied; no file in '{folder}' has its name or its hash")
        return found or named


def _lora_apart(one: Wanted, here: Applied) -> Iterator[str]:
    now, before = f"{here.asked.weight:g}", f"{one.lora.weight:g}"
    if now != before:
        yield f"LoRA '{one.name}' is at {now} here and was at {before}"
    if not any(whole.startswith(one.digest) for whole in (here.adapter.numbers_sha256, here.adapter.sha256)):
        yield _another(f"LoRA '{one.name}'", one.digest, here.adapter.name)


def _control_apart(name: str, part: WantedControl, here: Control) -> Iterator[str]:
    if part.digest and not here.sha256.startswith(part.digest):
        yield _another(name, part.digest, here.name)
    if part.picture and not here.picture_sha256.startswith(part.picture):
        yield f"the picture of {name} had the hash {part.picture}; the one given is another"
    before, now = (f"{one.strength:g} in the steps {one.start:g} to {one.end:g}" for one in (part, here))
    if before != now:
        yield f"{name} is at {now} here and was at {before}"


def _another(what: str, digest: str, file: str) -> str:
    return f"{what} had the hash {digest}; the file '{file}' is another"


def _named(folder: Path, name: str, folders: bool) -> Path | None:
    """The file of weights, or the diffusers folder, of this name; with its ending or without."""
    each = (path for path in sorted(folder.rglob("*")) if name in (path.name, path.stem))
    for path in each:
        if path.suffix.lower() in WEIGHTS or (folders and (path / "config.json").is_file()):
            return path
    return None
