"""A hub of one repository on this machine: the three answers that huggingface_hub asks for, and what was asked."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "someone/miniature"


class Hub(BaseHTTPRequestHandler):
    def do_GET(self):
        self._answer(body=True)

    def do_HEAD(self):
        self._answer(body=False)

    def log_message(self, *_):
        pass

    def _answer(self, body):
        path = unquote(urlsplit(self.path).path).strip("/")
        server = self.server
        if server.silent is not None or server.broken:
            return self._fail(server.silent, body)
        if path.startswith("api/models/"):
            name, _, rest = path.removeprefix("api/models/").partition("/tree/")
            name, _, revision = name.partition("/revision/")
            return self._send(*self._api(name, revision or rest, bool(rest)), body)
        name, _, rest = path.partition("/resolve/")
        revision, _, file = rest.partition("/")
        if name == NAME and server.gated:
            return self._send(403, b"gated", {"X-Error-Code": "GatedRepo"}, body)
        if name != NAME or revision not in ("main", COMMIT) or file not in server.files:
            return self._send(404, b"nothing", {"X-Error-Code": "EntryNotFound"}, body)
        if body:
            server.fetched.append(file)
        return self._file(file, body)

    def _fail(self, silent, body):
        if silent is not None:
            silent.wait()
            return None
        return self._send(500, b"", {}, body)

    def _file(self, file, body):
        server = self.server
        headers = {
            "ETag": f'"{hashlib.sha256(server.files[file]).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
        }
        content = server.altered.get(file, server.files[file])
        begins = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        if begins:
            headers["Content-Range"] = f"bytes {begins}-{len(content) - 1}/{len(content)}"
            server.resumed.append((file, begins))
        ends = len(content)
        if body and file in server.cut:
            server.cut.remove(file)
            ends //= 2
        return self._send(206 if begins else 200, content[begins:], headers, body, ends - begins)

    def _api(self, name, revision, tree):
        if name != NAME:
            return 404, b"{}", {"X-Error-Code": "RepoNotFound"}
        if revision not in ("", "main", COMMIT):
            return 404, b"{}", {"X-Error-Code": "RevisionNotFound"}
        files = self.server.files
        listed = [
            {"type": "file", "path": file, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            for file, content in files.items()
        ]
        info = {"id": NAME, "sha": COMMIT, "siblings": [{"rfilename": file} for file in files]}
        return 200, json.dumps(listed if tree else info).encode(), {"Content-Type": "application/json"}

    def _send(self, status, content, headers, body, most=None):
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content[:most])


@contextmanager
def hub_of(files, gated=False):
    """The server; `url` is its HF_ENDPOINT, `fetched` the files whose contents were asked for.

    Faults: files in `cut` are sent by half, once; `altered` ones with these contents in place of their own; `broken`
    answers 500; `silent`, an Event, never answers before it is set. `resumed`: files and where they were gone on with.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.gated, server.fetched = files, gated, []
    server.cut, server.altered, server.broken, server.silent, server.resumed = [], {}, False, None, []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def files_of(folder: Path):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def into_cache(files, cache: Path, reference="main"):
    """As the hub's own library keeps them: contents once, by their hash; snapshots of links; names of commits."""
    place = cache / f"models--{NAME.replace('/', '--')}"
    for name, content in files.items():
        blob = place / "blobs" / hashlib.sha256(content).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link = place / "snapshots" / COMMIT / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path("../" * (name.count("/") + 2)) / "blobs" / blob.name)
    (place / "refs").mkdir()
    (place / "refs" / reference).write_text(COMMIT)
    return place
