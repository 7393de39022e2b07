import subprocess
import sys

FRONT = """
import asyncio, sys, tempfile
from pathlib import Path
from unnoise.server import Asked, Card, Desk, FieldError, Job, Limits, Settings
from unnoise.server.store import Store

card = Card("digits", "unnoise", "", "text", 1, 8, 8, 20, 1.5, "DDIM", True)
asked = Asked.read({"prompt": "a (seven:1.2) <lora:ink:1>", "width": 8}, Limits(), (card,))
with tempfile.TemporaryDirectory() as folder:
    store = Store(Path(folder, "jobs.sqlite"))
    store.add(Job("a" * 20, asked), "", None)
    store.close()
    desk = Desk(Settings(folder=Path(folder), loras=Path(folder)))
    desk._workshop.cards = (card,)
    try:
        asyncio.run(desk._entrance.sound(asked))
    except FieldError as error:
        print(error)
print([name for name in ("torch", "starlette") if name in sys.modules])
"""


def test_the_front_imports_no_torch():
    done = subprocess.run([sys.executable, "-c", FRONT], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[1] == "[]"
    assert "there is no LoRA 'ink'" in done.stdout
