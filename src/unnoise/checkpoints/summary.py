"""What a file says of itself: a model folder, a file of weights, or a picture with its recipe.

Torch is needed for models of other programs and for pickles alone.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unnoise.checkpoints import hub
from unnoise.checkpoints.adapters.names import is_adapter
from unnoise.checkpoints.adapters.survey import survey
from unnoise.checkpoints.families import BY_WIDTH
from unnoise.checkpoints.hashes import sha256_of
from unnoise.checkpoints.header import BYTES, PICKLED, Header, read_header
from unnoise.checkpoints.kinds import WORD, is_original, other
from unnoise.checkpoints.locations import find, find_foreign, find_lora, shipped
from unnoise.checkpoints.manifest import FILE, WEIGHTS, read_manifest
from unnoise.checkpoints.needed import ALONE, spellings
from unnoise.errors import CheckpointError, FileError, InputError
from unnoise.files import expanded

if TYPE_CHECKING:
    from unnoise.checkpoints.blueprint import Blueprint

_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF")


@dataclass(frozen=True)
class Summary:
    """Facts about one file or folder.

    kind: "model", "checkpoint" (a whole model of another program), "adapter", "weights" or "picture". For weights:
    `tensors`, `parameters` (numbers in all), `dtypes` (numbers of each type), `size` in bytes, `sha256`, and
    `short_hash`, its first ten digits, which A1111 shows. details: the description of a model (of `model.json`);
    of a checkpoint the family, what it predicts, its size in pixels and the numbers in each part, or in "problem"
    why it cannot be used; of an adapter what it is, its ranks, family and what it touches; the metadata of a file,
    with "what" it is and which family it "fits", where that is known; or the recipe and the other text of a picture.
    """

    path: str
    kind: str
    size: int
    sha256: str
    tensors: int = 0
    parameters: int = 0
    dtypes: dict[str, int] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def short_hash(self) -> str:
        """The first ten hexadecimal digits of `sha256`."""
        return self.sha256[:10]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "short_hash": self.short_hash}


def inspect(path: str | Path) -> Summary:
    """What a shipped model's name, a model folder, a run, a checkpoint, a file of weights or a picture says.

    path: may be an address of the hub (see `hub.Address`), which is fetched where it is not in the cache. Raises
    FileError when there is no such file, or it is none of these.
    """
    place = hub.located(path) or expanded(path)
    if os.path.isdir(place) and str(path) not in shipped():
        if find_foreign(place) is not None:
            return _folder(path, place)
        place = _alone(place) or place
    if os.path.isdir(place) or str(path) in shipped() or place.name == FILE:
        return _model(find(path))
    if not os.path.exists(place):
        raise FileError(f"there is no file '{place}'; give a model, a file of weights or a PNG picture.")
    if _begins(place).startswith(_PICTURES):
        return _picture(place)
    header = _header(place)
    kind, facts = _weights(place, header)
    return _counted(place, kind, {place: header}, sha256_of(place), facts | header.metadata)


def _alone(folder: Path) -> Path | None:
    """The file of weights in a folder of one network or adapter; None in the folder of a model."""
    if (folder / FILE).is_file():
        return None
    names = [whole for base in (ALONE, "model", "adapter_model") for _, whole, _ in spellings(base)]
    return next((folder / name for name in names if (folder / name).is_file()), find_lora(folder))


def _weights(path: Path, header: Header) -> tuple[str, dict[str, Any]]:
    """The kind of a file of tensors, and what is known of it beside its metadata."""
    if is_original(header.tensors):
        return "checkpoint", _recognised(path)[1]
    if is_adapter(header.tensors):
        found = survey({name: info.shape for name, info in header.tensors.items()}, header.metadata)
        if found.layers:
            return "adapter", found.facts()
    what, shapes = other(header.tensors), [info.shape for info in header.tensors.values()]
    if len(shapes) == 1 and what is None and len(shapes[0]) in (1, 2) and shapes[0][-1] in BY_WIDTH:
        what = WORD  # in diffusers' files it stands under its own name
    return "weights", {} if what is None else {"what": what} | _fits(header, what == WORD)


def _fits(header: Header, word: bool) -> dict[str, str]:
    """For which family a part or a word is, by the width of the text that it reads or stands in."""
    if "clip_g" in header.tensors:
        return {"fits": "SDXL"}
    for name, info in header.tensors.items():
        if info.shape and (word or name.endswith("attn2.to_k.weight")):
            width = info.shape[-1]
            return {"fits": f"{BY_WIDTH.get(width, 'another model')} (text of width {width})"}
    return {}


def _header(path: Path) -> Header:
    """Of a pickle as of a safetensors file; torch reads that, nothing but tensors."""
    if path.suffix.lower() not in PICKLED:
        return read_header(path)
    from unnoise.checkpoints.weights import open_weights

    found = open_weights([path])
    return Header(found.infos, found.metadata)


def _begins(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4)
    except OSError as error:
        raise FileError(f"cannot read '{path}': {error.strerror or error}.") from error


def _model(folder: Path) -> Summary:
    manifest, path = read_manifest(folder), folder / WEIGHTS
    sha256 = sha256_of(path)
    details = asdict(manifest) | {"intact": sha256 == manifest.sha256}
    return _counted(folder, "model", {path: read_header(path)}, sha256, details)


def _folder(name: str | Path, folder: Path) -> Summary:
    """Of a diffusers folder: of what is read of it, or of all where it is refused. The hash is the network's."""
    found, details = _recognised(name)
    if found is None:
        files = sorted(folder.glob("*/*.safetensors"))
    else:
        files = [file for part in found.parts.values() for file in part.files]
    sha256 = "" if found is None else sha256_of(found.hashed)
    return _counted(folder, "checkpoint", {file: read_header(file) for file in files}, sha256, details)


def _counted(
    path: Path, kind: str, headers: Mapping[Path, Header], sha256: str, details: dict[str, Any]
) -> Summary:
    """With the tensors and the numbers of these files in all."""
    counts: Counter[str] = Counter()
    for header in headers.values():
        for info in header.tensors.values():
            counts[info.dtype] += info.count
    return Summary(
        path=str(path),
        kind=kind,
        size=sum(file.stat().st_size for file in headers),
        sha256=sha256,
        tensors=sum(len(header.tensors) for header in headers.values()),
        parameters=sum(counts.values()),
        dtypes=dict(sorted(counts.items(), key=lambda item: -BYTES.get(item[0], 0))),
        details=details,
    )


def _recognised(name: str | Path) -> tuple[Blueprint | None, dict[str, Any]]:
    """What the loader makes of a checkpoint, or None and why it refuses it; this needs torch."""
    from unnoise.checkpoints.foreign import recognise

    try:
        found = recognise(name)
        if found is None:
            ending = ".ckpt" if Path(name).suffix.lower() in PICKLED else ".safetensors"
            return None, {"problem": f"'{name}' is no model by its name's ending; let it end in {ending}."}
        found.check()
    except CheckpointError as error:
        return None, {"problem": str(error)}
    return found, found.facts()


def _picture(path: Path) -> Summary:
    from unnoise import images

    text = images.read_text(path)
    width, height = images.read_size(path)
    details: dict[str, Any] = {"width": width, "height": height}
    details |= {name: value for name, value in text.items() if name != "unnoise"}
    recipe = images.recipe_json(text)
    if recipe is not None:
        details["recipe"] = recipe
    else:
        details |= _found(text)
    return Summary(str(path), "picture", path.stat().st_size, sha256_of(path), details=details)


def _found(text: Mapping[str, str]) -> dict[str, Any]:
    """What another program's recipe says, or why it cannot be read."""
    from unnoise.checkpoints import recipes

    try:
        found = recipes.read_chunks(text)
    except InputError as error:
        return {"problem": str(error)}
    return {} if found is None else {"recipe": found.to_dict()}
