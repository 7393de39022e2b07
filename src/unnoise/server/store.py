"""Jobs on disk: they outlive the process that took them."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from unnoise.errors import FileError
from unnoise.server.asked import PICTURES, Asked
from unnoise.server.job import ENDED, Job, Made, Problem

_COLUMNS = "id, state, asked, created, begun, ended, attempt, step, steps, images, notes, problem"
_TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    client TEXT NOT NULL,
    key TEXT,
    state TEXT NOT NULL,
    asked TEXT NOT NULL,
    init BLOB,
    mask BLOB,
    created REAL NOT NULL,
    begun REAL,
    ended REAL,
    attempt INTEGER NOT NULL,
    step INTEGER NOT NULL,
    steps INTEGER,
    images TEXT NOT NULL,
    notes TEXT NOT NULL,
    problem TEXT,
    UNIQUE (client, key)
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state);
"""
_VERSION = 1
_OVER = "state IN ({})".format(", ".join(f"'{state}'" for state in sorted(ENDED)))


class Store:
    """A table of jobs in one SQLite file, which nobody but its owner may read: it holds prompts.

    Jobs come back without the pictures that they begin from; `whole` has these until a job has ended. What is
    added or saved is on the disk when the call returns. Raises FileError where the file cannot be used, among others
    because another server uses it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            path.chmod(0o600)
            self._db = sqlite3.connect(path, timeout=1.0, isolation_level=None)
        try:
            self._open()
        except FileError:
            self._db.close()
            raise

    def _open(self) -> None:
        with self._told():
            # one server to a folder, until it ends in any way
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("BEGIN IMMEDIATE")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            self._db.execute("COMMIT")
            if version not in (0, _VERSION):
                raise FileError(
                    f"'{self.path}' has version {version}, and this unnoise reads {_VERSION}; give another folder."
                )
            self._db.executescript(f"{_TABLE}PRAGMA user_version = {_VERSION};")

    def close(self) -> None:
        """Leave the file to others."""
        with self._told():
            self._db.close()

    def add(self, job: Job, client: str, key: str | None) -> None:
        """Keep a new job, with its pictures."""
        pictures = {name: getattr(job.asked, name) for name in PICTURES}
        row = _row(job) | {"client": client, "key": key} | pictures
        names, places = ", ".join(row), ", ".join("?" * len(row))
        with self._told():
            self._db.execute(f"INSERT INTO jobs ({names}) VALUES ({places})", tuple(row.values()))

    def save(self, job: Job) -> None:
        """Keep how a job stands now; one that has ended lets go of its pictures."""
        row: dict[str, Any] = _row(job) | (dict.fromkeys(PICTURES) if job.over else {})
        sets = ", ".join(f"{name} = ?" for name in row)
        with self._told():
            self._db.execute(f"UPDATE jobs SET {sets} WHERE id = ?", (*row.values(), job.id))

    def get(self, id: str) -> Job | None:
        """The job of this id."""
        return next(iter(self._jobs("WHERE id = ?", id)), None)

    def by_key(self, client: str, key: str) -> Job | None:
        """The job that this client gave this key."""
        return next(iter(self._jobs("WHERE client = ? AND key = ?", client, key)), None)

    def latest(self, limit: int, before: str | None = None) -> list[Job]:
        """Jobs, the newest first; those that came before another."""
        order = "ORDER BY number DESC LIMIT ?"
        if before is None:
            return self._jobs(order, limit)
        return self._jobs(f"WHERE number < (SELECT number FROM jobs WHERE id = ?) {order}", before, limit)

    def waiting(self) -> list[tuple[Job, str]]:
        """Jobs that have not ended, the oldest first, each with its client."""
        with self._told():
            rows = self._db.execute(
                f"SELECT {_COLUMNS}, client FROM jobs WHERE state IN ('queued', 'running') ORDER BY number"
            ).fetchall()
        return [(_job(row[:-1]), row[-1]) for row in rows]

    def whole(self, job: Job) -> Job:
        """The job with the pictures that it begins from."""
        with self._told():
            row = self._db.execute("SELECT init, mask FROM jobs WHERE id = ?", (job.id,)).fetchone()
        init, mask = row or (None, None)
        return replace(job, asked=replace(job.asked, init=init, mask=mask))

    def forget(self, id: str) -> None:
        """Remove a job."""
        with self._told():
            self._db.execute("DELETE FROM jobs WHERE id = ?", (id,))

    def trim(self, keep: int) -> list[Job]:
        """Remove the jobs that have ended, but for the latest `keep`. Returns those that went."""
        with self._told():
            first = self._db.execute(
                f"SELECT number FROM jobs WHERE {_OVER} ORDER BY number DESC LIMIT 1 OFFSET ?", (keep,)
            ).fetchone()
        if first is None:
            return []
        where = f"WHERE {_OVER} AND number <= ?"
        gone = self._jobs(where, *first)
        with self._told():
            self._db.execute(f"DELETE FROM jobs {where}", first)
        return gone

    def _jobs(self, where: str, *values: object) -> list[Job]:
        with self._told():
            return [_job(row) for row in self._db.execute(f"SELECT {_COLUMNS} FROM jobs {where}", values)]

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            locked = "locked" in str(error)
            raise FileError(
                f"'{self.path}' is used by another server; give this one a folder of its own (-o FOLDER)."
                if locked
                else f"cannot use '{self.path}': {error}. Look at its disk and its rights, or give another folder."
            ) from error
        except sqlite3.Error as error:
            raise FileError(
                f"'{self.path}' is damaged ({error}); move it away, or give another folder."
            ) from error
        except OSError as error:
            raise FileError(f"cannot write '{self.path}': {error.strerror}. Give another folder.") from error


def _row(job: Job) -> dict[str, Any]:
    """In ASCII: prompts may hold what UTF-8 has no code for."""
    return {
        **{name: getattr(job, name) for name in _COLUMNS.split(", ")},
        "asked": json.dumps(job.asked.to_dict()),
        "images": json.dumps([{**vars(made), "recipe": dict(made.recipe)} for made in job.images]),
        "notes": json.dumps(job.notes),
        "problem": None if job.problem is None else json.dumps(asdict(job.problem)),
    }


def _job(row: tuple[Any, ...]) -> Job:
    values: Mapping[str, Any] = dict(zip(_COLUMNS.split(", "), row, strict=True))
    return Job(
        **{
            **values,
            "asked": Asked.from_dict(json.loads(values["asked"])),
            "images": tuple(Made(**made) for made in json.loads(values["images"])),
            "notes": tuple(json.loads(values["notes"])),
            "problem": None if values["problem"] is None else Problem(**json.loads(values["problem"])),
        }
    )
