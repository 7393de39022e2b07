"""A page as people see it: chromium without a window, driven over its debugging pipe; needs nothing but the browser."""

import base64
import fcntl
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress

import pytest

# The browser reads commands from descriptor 3 and writes answers to 4; subprocess cannot number them, so this does.
_NUMBERED = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage")
_CONTROL = 2  # of Input.dispatchKeyEvent's modifiers
_KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "z": 90}
_KEYS |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


class Chromium:
    """One tab. `problems` are errors that the page met, breaches of its content security policy among them."""

    def __init__(self, folder, size=(1280, 900)):
        program = (
            shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        )
        if program is None:
            pytest.skip("no chromium here")
        self.problems, self._numbers = [], itertools.count(1)
        command, self._to = _pipe()
        self._from, answer = _pipe()
        words = [str(command), str(answer), program, *_FLAGS, f"--window-size={size[0]},{size[1]}"]
        words += ["--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _NUMBERED, *words],
            pass_fds=(command, answer),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(command)
        os.close(answer)
        self._buffer, self._session = b"", None
        self._session = self._attach()
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with suppress(OSError, AssertionError):
            self._session = None
            self.send("Browser.close")
        for end in (self._to, self._from):
            os.close(end)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def send(self, method, **parameters):
        """What the browser answers to a command of its debugging protocol; None where the page went away meanwhile."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (told := self._read()).get("id") != number:
            self._hear(told)
        if "navigated" in told.get("error", {}).get("message", ""):
            return None
        assert "error" not in told, told
        return told["result"]

    def open(self, url):
        """Load an address."""
        self.send("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def reload(self):
        """Load the page anew, and wait until the old one is gone."""
        self.run("window.old = true")
        self.send("Page.reload")
        self.until("window.old === undefined && document.readyState === 'complete'")

    def run(self, expression):
        """The value of an expression, awaited; None where the page went away meanwhile."""
        told = self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if told is None:
            return None
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def until(self, expression, patience=60):
        """Wait until an expression is true."""
        latest = time.monotonic() + patience
        while not self.run(expression):
            assert time.monotonic() < latest, f"never: {expression}; {self.problems}"
            time.sleep(0.05)

    def resize(self, width, height):
        """A window of this size; a narrow one is a telephone's."""
        window = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", **window)

    def look(self, width, height, dark=False):
        """A PNG of what is seen in a window of this size."""
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.run("new Promise(done => setTimeout(done, 400))")
        return base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])

    def write(self, text):
        """Type into what has the focus."""
        self.send("Input.insertText", text=text)

    def press(self, key, control=False):
        """A key with or without Ctrl."""
        stroke = {"key": key, "code": key, "windowsVirtualKeyCode": _KEYS[key]}
        stroke["modifiers"] = _CONTROL if control else 0
        if key in ("Enter", " ") and not control:  # without its text a button does not hear it
            stroke["text"] = "\r" if key == "Enter" else key
        self.send("Input.dispatchKeyEvent", type="keyDown" if "text" in stroke else "rawKeyDown", **stroke)
        self.send("Input.dispatchKeyEvent", type="keyUp", **stroke)

    def _attach(self):
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        return self.send("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]

    def _read(self):
        while b"\0" not in self._buffer:
            more = os.read(self._from, 1 << 20)
            assert more, "chromium ended"
            self._buffer += more
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _hear(self, told):
        if told.get("method") == "Runtime.exceptionThrown":
            self.problems.append(told["params"]["exceptionDetails"])
        entry = told.get("params", {}).get("entry", {})
        if entry.get("level") == "error" and entry.get("source") != "network":
            self.problems.append(entry["text"])


def _pipe():
    """Two ends with numbers that do not stand in the way of 3 and 4."""
    ends = os.pipe()
    high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in ends)
    for end in ends:
        os.close(end)
    return high
