"""The pictures of `unnoise serve`'s page: a real server, a real browser.

python docs/images/page.py [FOLDER]
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
sys.path.append(str(HERE.parents[1] / "tests"))

from chromium import Chromium  # noqa: E402
from served import Served  # noqa: E402

PROMPTS = (
    "a rocket, flat",
    "a grinning face, noto",
    "a blue heart, 3d",
    "a banana, flat",
    "a frog, 3d",
    "a red apple, 3d",
)


def main(folder: Path) -> None:
    """Six pictures of seed 7, then a step of the last one: in a wide light window and in a narrow dark one."""
    with tempfile.TemporaryDirectory() as work, Served(Path(work) / "out", "-m", "emoji") as served:
        served.ready()
        with Chromium(Path(work) / "profile") as browser:
            browser.open(served.url)
            browser.until("document.getElementById('server').dataset.state === 'ready'")
            browser.run("document.getElementById('model').value = 'emoji'")
            browser.run("document.getElementById('model').dispatchEvent(new Event('change'))")
            for made, prompt in enumerate(PROMPTS, 1):
                ask(browser, prompt)
                browser.until(f"document.querySelectorAll('#gallery img').length === {made}")
            browser.run("document.activeElement.blur()")
            walk(browser, 0.45)
            save(browser.look(1280, 860), folder / "page.png")
            browser.look(390, 844)
            browser.run("document.getElementById('stage').scrollIntoView()")
            save(browser.look(390, 844, dark=True), folder / "page-narrow.png")


def ask(browser: Chromium, prompt: str) -> None:
    """Type a prompt and start."""
    for field, text in (("prompt", prompt), ("seed", "7")):
        browser.run(
            f"document.getElementById('{field}').focus(), document.getElementById('{field}').select()"
        )
        browser.write(text)
    browser.press("Enter", control=True)


def walk(browser: Chromium, share: float) -> None:
    """Look at a step of the run on the stage, that share of the way along."""
    browser.until("document.getElementById('now').textContent === 'result'")
    browser.run(
        f"(step => {{ step.value = Math.ceil({share} * step.max) }})(document.getElementById('step'))"
    )
    browser.run("document.getElementById('step').dispatchEvent(new Event('input'))")


def save(content: bytes, path: Path) -> None:
    """Of 256 colours, which the eye hardly misses on a page."""
    Image.open(io.BytesIO(content)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        path, optimize=True
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
