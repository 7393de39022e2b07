"""The packages that the pictures and their names come from: fetched at one version, with a licence that is checked."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tarfile
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REGISTRY = "https://registry.npmjs.org"
LICENCE_FILE = re.compile(r"(?i)(licen[cs]e|copying|notice)")

Files = Mapping[str, bytes]
"""Path inside a package -> content."""


class PackageError(SystemExit):
    """A package that cannot be used; the command ends with this sentence."""


@dataclass(frozen=True)
class Package:
    """One npm package at one version.

    licence: what its package.json must say. sha512: of the archive, in base64, as the registry gives it.
    """

    name: str
    version: str
    licence: str
    sha512: str

    @property
    def file(self) -> str:
        """Name of the archive."""
        return f"{self.name.rpartition('/')[2]}-{self.version}.tgz"

    @property
    def url(self) -> str:
        """Where the registry keeps it."""
        return f"{REGISTRY}/{self.name}/-/{self.file}"

    def read(self, folder: Path) -> Files:
        """Its files, from the archive in `folder`, which is fetched when it is not there.

        Raises PackageError for an archive with another hash, and for a licence that is missing or another.
        """
        path = folder / self.file
        content = path.read_bytes() if path.exists() else self._fetch(path)
        found = base64.b64encode(hashlib.sha512(content).digest()).decode()
        if found != self.sha512:
            raise PackageError(
                f"'{path}' has sha512 {found[:12]}..., recorded is {self.sha512[:12]}...; delete it to fetch it again."
            )
        files = unpacked(content)
        self._check_licence(files)
        return files

    def _fetch(self, path: Path) -> bytes:
        try:
            with urllib.request.urlopen(self.url, timeout=60) as answer:
                content: bytes = answer.read()
        except OSError as error:
            raise PackageError(
                f"cannot fetch {self.url}: {error}. Put the archive at '{path}' by hand."
            ) from error
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        partial.write_bytes(content)
        partial.replace(path)
        return content

    def _check_licence(self, files: Files) -> None:
        said = {"package.json": table(files, "package.json").get("license")}
        if "info.json" in files:
            said["info.json"] = table(files, "info.json").get("license", {}).get("spdx")
        for where, licence in said.items():
            if licence != self.licence:
                raise PackageError(
                    f"{self.name} {self.version}: its {where} names the licence {licence!r}, expected is "
                    f"'{self.licence}'. Read its terms before a picture of it is used."
                )


PACKAGES = {
    "captions": Package(
        "emojibase-data",
        "17.0.0",
        "MIT",
        "Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA==",
    ),
    "noto": Package(
        "@iconify-json/noto",
        "1.2.9",
        "Apache-2.0",
        "DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
    ),
    "noto-v1": Package(
        "@iconify-json/noto-v1",
        "1.2.5",
        "Apache-2.0",
        "/DsVMius69Q0fRS53z7QK1TROSuar606jiIx+laXtdsYGMXpf6LtHBx6CGfoo3UHHb/XpBsw+1L1x3eyPqMuVA==",
    ),
    "flat": Package(
        "@iconify-json/fluent-emoji-flat",
        "1.2.6",
        "MIT",
        "RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
    ),
    "fluent": Package(
        "@iconify-json/fluent-emoji",
        "1.2.7",
        "MIT",
        "D8G6bKAyIsyxP1rzZtIWr/gg/fO4Rg1+DyCWlfqKK4h8W+4Em/Y0P6QYgJUQTlUcagzJvSyg+9OBv4hz4Hc/QA==",
    ),
    "3d": Package(
        "@lobehub/fluent-emoji-3d",
        "1.1.0",
        "MIT",
        "Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv60lUAG3h7g==",
    ),
}
"""Style -> where its pictures come from; and `captions`, where the names come from."""


def unpacked(archive: bytes) -> Files:
    """The plain files of a .tgz by their path below its one folder; nothing is written anywhere."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {
            member.name.partition("/")[2]: file.read()
            for member in tar
            if member.isfile() and (file := tar.extractfile(member)) is not None
        }


def table(files: Files, path: str) -> dict[str, Any]:
    """A JSON file of a package; empty where the package has none."""
    found: dict[str, Any] = json.loads(files[path]) if path in files else {}
    return found


def description(files: Files) -> dict[str, Any]:
    """What a package says of its origin, for the summary of a set."""
    package, author = table(files, "package.json"), table(files, "info.json").get("author") or {}
    return {
        "package": package.get("name"),
        "version": package.get("version"),
        "licence": package.get("license"),
        "author": author.get("name"),
        "source": author.get("url"),
        "licence_files": [path for path in files if "/" not in path and LICENCE_FILE.match(path)],
    }
