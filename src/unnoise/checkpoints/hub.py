"""Models of the Hugging Face hub: in its cache on this machine, else fetched. Torch-free.

The cache is read without huggingface_hub and without the network; only what is not there is fetched.
"""

from __future__ import annotations

import glob
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unnoise.checkpoints.hashes import sha256_of
from unnoise.checkpoints.needed import INDEX, Needed, of_model, of_network, suffix
from unnoise.errors import CheckpointError
from unnoise.files import expanded, read_table

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_FILE = r"\.(?:safetensors|ckpt|pth|pt|bin|json|png|jpe?g|webp)"
_ADDRESS = re.compile(
    rf"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:/(?P<file>[\w./+ -]+{_FILE}))?"
    r"(?:@(?P<revision>[\w./-]+))?(?::(?P<variant>\w+))?",
    re.ASCII,
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_YES = ("1", "true", "yes", "on")


@dataclass(frozen=True)
class Address:
    """`owner/name[/file][@revision][:variant]`: a model of the hub.

    file: one file of the repository, for models that are one. revision: a branch, a tag, or a commit of 40 digits,
    which pins the model. variant: the precision to take where there are several, such as fp16.
    """

    repository: str
    file: str = ""
    revision: str = "main"
    variant: str = ""

    def __str__(self) -> str:
        return self.repository + (f"/{self.file}" if self.file else "")

    @property
    def folder(self) -> str:
        """What the repository's folder in the cache is called."""
        return f"models--{self.repository.replace('/', '--')}"

    def pinned(self, place: Path) -> str:
        """The name with the commit of what lies at `place` in the cache."""
        parts = place.parts
        commit = parts[parts.index(self.folder) + 2]  # models--owner--name/snapshots/commit
        return f"{self}@{commit}" + (f":{self.variant}" if self.variant else "")


def address(name: str | Path) -> Address | None:
    """What the words say; None for what is, or can only be, a path on this machine."""
    match = _ADDRESS.fullmatch(name) if isinstance(name, str) else None
    if match is None or ".." in match[0] or re.search(_FILE + "$", match["repository"]):
        return None
    if os.path.exists(name) or os.path.isdir(Path(match["repository"]).parent):
        return None
    given = {field: value for field, value in match.groupdict().items() if value is not None}
    return Address(**given)


def cache() -> Path:
    """The folder of the hub's cache: HF_HUB_CACHE, else `hub` in HF_HOME, else in `~/.cache/huggingface`."""
    env = os.environ
    home = env.get("HF_HOME") or Path(env.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    found = env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE") or Path(home) / "hub"
    return expanded(os.path.expandvars(found))


def cached(asked: Address) -> Path | None:
    """The folder (or file) in the cache; None where it is not there whole."""
    place = cache() / asked.folder
    commit = asked.revision
    if not _COMMIT.fullmatch(commit):
        try:
            commit = (place / "refs" / asked.revision).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
    snapshot = place / "snapshots" / commit
    if not _COMMIT.fullmatch(commit) or not snapshot.is_dir():
        return None
    if asked.file:
        return snapshot / asked.file if (snapshot / asked.file).is_file() else None
    names = {path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()}
    needed = _needed(asked, names, snapshot / INDEX)
    return None if needed.lacks or not _has(needed, asked.variant) else snapshot


def located(name: str | Path) -> Path | None:
    """Where the model of an address lies, fetched if need be; None for anything but an address.

    Raises CheckpointError where it can neither be found nor fetched, with the reason.
    """
    asked = address(name)
    return None if asked is None else cached(asked) or _fetched(asked)


def _needed(asked: Address, names: set[str], index: Path | None) -> Needed:
    if INDEX in names and index is not None:
        with suppress(CheckpointError):
            return of_model(read_table(index), names, asked.variant)
    elif "config.json" in names:
        return of_network(names, asked.variant)
    return Needed((), (INDEX,))


def _has(needed: Needed, variant: str) -> bool:
    """Whether any part comes in the variant that was asked for."""
    return not variant or any(suffix(variant) in name for name in needed.files)


def _fetched(asked: Address) -> Path:
    missing = f"'{asked}' is no file or folder here, and is not whole in the hub's cache ({cache()})"
    if any(os.environ.get(name, "").lower() in _YES for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")):
        raise CheckpointError(f"{missing}; HF_HUB_OFFLINE forbids to fetch it. Unset it, or give a path.")
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise CheckpointError(
            f"{missing}. To fetch it from the hub, install the extra: pip install 'unnoise[hub]'; or give a path."
        ) from error
    try:
        return _sound(_fetch(HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None), asked))
    except CheckpointError:
        raise
    except Exception as error:  # of many libraries: http, disk, the hub's own
        raise CheckpointError(_reason(asked, missing, error)) from error


def _fetch(api: HfApi, asked: Address) -> Path:
    """Only the files that are needed, into the cache."""
    from huggingface_hub import constants

    name, revision, into = asked.repository, asked.revision, cache()
    # without a bound of ours, a hub that takes the question and never answers is waited for without end
    info = api.model_info(name, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    names = {each.rfilename for each in info.siblings or ()}
    if asked.file:
        if asked.file not in names:
            raise CheckpointError(f"'{name}' has no file '{asked.file}'. {_models(names)}")
        return Path(api.hf_hub_download(name, asked.file, revision=revision, cache_dir=into))
    index = None
    if INDEX in names:
        index = Path(api.hf_hub_download(name, INDEX, revision=info.sha, cache_dir=into))
    needed = _needed(asked, names, index)
    if needed.lacks:
        lacks = ", ".join(needed.lacks)
        raise CheckpointError(
            f"'{name}' holds no whole model in safetensors: it lacks {lacks}. {_models(names)}"
        )
    if not _has(needed, asked.variant):
        raise CheckpointError(f"'{name}' has no variant '{asked.variant}'; leave it out.")
    patterns = [glob.escape(each) for each in needed.files]
    return Path(api.snapshot_download(name, revision=revision, allow_patterns=patterns, cache_dir=into))


def _sound(place: Path) -> Path:
    """The file, or the folder, that was fetched, after a look at its contents; the hub's library compares sizes alone.

    The cache calls large files by the SHA-256 that the hub says they have. (Where a system has no links there is
    nothing to compare with.) Raises CheckpointError, after removing what differs.
    """
    for file in [place] if place.is_file() else sorted(place.rglob("*")):
        contents = file.resolve()
        if contents.is_file() and _SHA256.fullmatch(contents.name) and sha256_of(contents) != contents.name:
            file.unlink()
            contents.unlink(missing_ok=True)
            raise CheckpointError(
                f"'{file.name}' came from the hub with other contents than the hub says (its SHA-256 differs), and was "
                "removed. Fetch it again; if that does not help, a proxy or a mirror alters it."
            )
    return place


def _models(names: set[str]) -> str:
    """What else could be asked for."""
    top = sorted(name for name in names if name.endswith(".safetensors") and "/" not in name)
    if not top:
        return "Choose another model, or a revision that has one."
    return f"It has {', '.join(top[:4])}; ask for one as OWNER/NAME/{top[0]}."


def _reason(asked: Address, missing: str, error: Exception) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return (
            f"'{asked.repository}' is gated: accept its terms on its page (https://huggingface.co/{asked.repository}), "
            "then log in on this machine with `hf auth login`, or set HF_TOKEN."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"'{asked.repository}' has no revision '{asked.revision}'; give a branch, a tag or a commit that it has."
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"'{asked}' is no file or folder here, and the hub has no model of that name that you may see. Correct it, "
            "or log in with `hf auth login` if it is private."
        )
    first = str(error).strip().splitlines()
    told = f"{type(error).__name__}{': ' + first[0][:200] if first else ''}"
    return f"{missing}; it could not be fetched ({told}). Try again with a connection to the hub, or give a path."
