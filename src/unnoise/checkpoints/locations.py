"""Where models are: the shipped ones by name, model folders, training runs. Torch-free."""

from __future__ import annotations

import difflib
import json
import os
import re
from pathlib import Path

from unnoise.checkpoints import hub
from unnoise.checkpoints.header import PICKLED
from unnoise.checkpoints.manifest import FILE
from unnoise.checkpoints.needed import INDEX
from unnoise.errors import CheckpointError, InputError
from unnoise.files import expanded

SHIPPED = Path(__file__).parent / "models"

READS = (
    "this version reads model folders (model.json beside weights.safetensors), training runs, Stable Diffusion "
    "checkpoints (one .safetensors file, a diffusers folder, or OWNER/NAME on the hub), and the models that "
    "`unnoise models` lists"
)
_STEP = re.compile(r"step-(\d+)")


def shipped() -> dict[str, Path]:
    """Folder of each model that comes with the package, by name."""
    return {file.parent.name: file.parent for file in sorted(SHIPPED.glob(f"*/{FILE}"))}


def find_foreign(name: str | Path) -> Path | None:
    """The diffusers folder, or the file of weights, that this path or address is; None for anything else.

    An address of the hub, `owner/name`, is fetched where it is not in the cache. Raises CheckpointError as
    `hub.located`.
    """
    if str(name) in shipped():
        return None
    path = hub.located(name) or expanded(name)
    if os.path.isdir(path):  # pathlib's raises for a name that is too long
        if (path / FILE).is_file():
            return None
        # a run whose result is a folder of another program's form
        return next((place for place in (path, path / "model") if (place / INDEX).is_file()), None)
    if path.name == INDEX and path.is_file():
        return path.parent
    return path if os.path.isfile(path) and path.suffix.lower() in (".safetensors", ".ckpt") else None


def is_foreign(name: str | Path) -> bool:
    """Whether this is a model of another program, or an address of one: nothing is fetched to tell."""
    return hub.address(name) is not None or find_foreign(name) is not None


def find(name: str | Path) -> Path:
    """The model folder that a shipped name, a model folder, a run or one of its checkpoints stands for.

    A plain word is a shipped name first; `./word` is always the folder. Of a run it is `model/` when the run
    has finished, else the newest complete checkpoint. Raises InputError for an unknown name (with the three
    nearest) and CheckpointError for a path that holds no model of ours.
    """
    known = shipped()
    if str(name) in known:
        return known[str(name)]
    path = expanded(name)
    if os.path.isdir(path):
        return _in_folder(path)
    if os.path.isfile(path):
        if path.name == FILE:
            return path.parent
        raise CheckpointError(f"'{path}' is {_kind(path)}; {READS}.")
    if isinstance(name, Path) or "/" in str(name) or "\\" in str(name) or path.suffix:
        raise CheckpointError(f"there is no '{path}'; {READS}.")
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.0)
    hint = f"the nearest are {', '.join(near)}" if near else "none is shipped; give a model folder"
    raise InputError(f"there is no model '{name}'; {hint}. `unnoise models` lists them.")


def find_lora(folder: Path) -> Path | None:
    """The LoRA that a run made (or its newest checkpoint holds), or that diffusers saved there; None for neither."""
    steps = sorted(folder.glob("checkpoints/*/lora.safetensors"), reverse=True)
    files = (folder / "lora.safetensors", folder / "pytorch_lora_weights.safetensors", *steps)
    return next((file for file in files if file.is_file()), None)


def find_control(name: str | Path) -> Path:
    """The file or folder that a path or address of a ControlNet stands for, fetched if need be.

    Raises CheckpointError where there is none.
    """
    place = hub.located(name) or expanded(name)
    if not os.path.lexists(place):
        raise CheckpointError(
            f"there is no ControlNet '{name}'; give a file, a diffusers folder, or OWNER/NAME on the hub."
        )
    return place


def _in_folder(path: Path) -> Path:
    for folder in (path, path / "model"):
        if (folder / FILE).is_file():
            return folder
    if found := find_lora(path):
        raise CheckpointError(
            f"the folder '{path}' holds a LoRA, no model; give the model that it was made for, and --lora {found}."
        )
    if (path / "config.toml").is_file() and (words := sorted(path.glob("*.safetensors"))):
        raise CheckpointError(
            f"the run '{path}' taught a word; give the model that it was made for, and --embedding {words[0]}."
        )
    steps = (path / "checkpoints").iterdir() if (path / "checkpoints").is_dir() else ()
    numbered = [(int(match[1]), step) for step in steps if (match := _STEP.fullmatch(step.name))]
    for _, step in sorted(numbered, reverse=True):
        if _complete(step):
            return step / "model"
    if numbered or (path / "config.toml").is_file():
        raise CheckpointError(
            f"the run '{path}' has no complete checkpoint yet; let it train on to its first."
        )
    raise CheckpointError(f"the folder '{path}' holds no model (no {FILE}); {READS}.")


def _complete(step: Path) -> bool:
    """Whether every file that the checkpoint's manifest lists is there in full size."""
    try:
        entries = json.loads((step / "manifest.json").read_text(encoding="utf-8"))["files"]
        return (step / "model" / FILE).is_file() and all(
            (step / name).stat().st_size == entry["size"] for name, entry in entries.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _kind(path: Path) -> str:
    if path.suffix.lower() in PICKLED:
        return "a pickled checkpoint"
    return "a file of weights" if path.suffix.lower() == ".safetensors" else "not a model"
