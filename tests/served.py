"""`unnoise serve` as people start it: a process of its own, asked over HTTP."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest

ENDED = ("done", "failed", "cancelled")


class Served:
    """A server on a port of its own choice, in `folder`; with no model told, the digits. Ends with the block.

    where: the folder that it is started in. start: what Python runs.
    """

    def __init__(self, folder, *words, environment=(), where=None, start=("-m", "unnoise")):
        pytest.importorskip("uvicorn")
        self.folder, self.log = folder, folder.parent / f"{folder.name}.log"
        command = [
            sys.executable,
            *map(str, start),
            "serve",
            "-m",
            "digits",
            "--port",
            "0",
            "-o",
            str(folder),
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *words],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                cwd=where,
                env={**os.environ, "OMP_NUM_THREADS": "1", **dict(environment)},
            )
        self.line = self.process.stdout.readline()
        found = re.search(r"http://\S+", self.line)
        if not found:
            self.kill()
            pytest.fail(self.log.read_text())
        self.url = found[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        """SIGKILL, and wait."""
        self.process.kill()
        self.process.wait(60)
        self.process.stdout.close()

    def end(self):
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)

    def connect(self):
        """A connection to the server."""
        place = urlsplit(self.url)
        return http.client.HTTPConnection(place.hostname, place.port, timeout=120)

    def ask(self, method, path, fields=None, headers=(), body=None):
        """(status, headers, content) of a request; content is what the JSON says, or bytes."""
        connection = self.connect()
        try:
            given = dict(headers)
            if fields is not None:
                body, given = json.dumps(fields), {"Content-Type": "application/json", **given}
            connection.request(method, path, body, given)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        told = {name.lower(): value for name, value in answer.getheaders()}
        if told.get("content-type") == "application/json" and content:
            content = json.loads(content)
        return answer.status, told, content

    def submit(self, **fields):
        """A job that must be taken."""
        status, _, job = self.ask("POST", "/api/jobs", fields)
        assert status == 202, job
        return job

    def job(self, id):
        """Where a job stands."""
        return self.ask("GET", f"/api/jobs/{id}")[2]

    def until(self, told, patience=120):
        """What `told` answers as soon as that is true."""
        latest = time.monotonic() + patience
        while not (found := told()):
            assert time.monotonic() < latest, self.log.read_text()
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        return found

    def ready(self):
        """Wait until a job would be taken."""
        self.until(lambda: self.ask("GET", "/readyz")[0] == 200)
        return self

    def ended(self, id):
        """The job once it has ended."""
        return self.until(lambda: (job := self.job(id))["state"] in ENDED and job)

    def running(self, id, step=1):
        """The job once that many steps are made."""
        return self.until(lambda: (job := self.job(id))["state"] == "running" and job["step"] >= step and job)
