"""The page of `unnoise serve`: what its files promise, and that a person who types a prompt gets the picture."""

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources

import numpy as np
import pytest
from safetensors.torch import save_file

import miniature_file
from chromium import Chromium
from served import Served
from unnoise.server.asked import PICTURES, Asked
from unnoise.server.limits import Limits

FOLDER = resources.files("unnoise.server").joinpath("page")
FILES = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.iterdir()}
SCRIPTS = {name: text for name, text in FILES.items() if name.endswith(".js")}
SHEETS = {name: text for name, text in FILES.items() if name.endswith(".css")}
FIELDS = ("input", "select", "textarea")
WITHOUT_END = {"input", "img", "link", "meta", "br"}


class Element(dict):
    """The attributes of an element; tag, text and what it stands in."""

    def __init__(self, tag, attributes, within):
        super().__init__(attributes)
        self.tag, self.within, self.text = tag, within, ""

    def inside(self, tag, **attributes):
        return any(each.tag == tag and attributes.items() <= each.items() for each in (self, *self.within))


class Reader(HTMLParser):
    """The elements of a document in their order."""

    def __init__(self, text):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        element = Element(tag, attributes, tuple(self._open))
        self.elements.append(element)
        if tag not in WITHOUT_END:
            self._open.append(element)

    def handle_endtag(self, tag):
        if tag not in WITHOUT_END:
            assert self._open.pop().tag == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        for element in self._open:
            element.text += data


PAGE = Reader(FILES["index.html"]).elements
IDS = [element["id"] for element in PAGE if "id" in element]
TYPED = [element for element in PAGE if element.tag in FIELDS]


def test_nothing_is_inline_and_nothing_comes_from_elsewhere():
    for element in PAGE:
        assert element.tag != "style"
        assert not any(name == "style" or name.startswith("on") for name in element), element
        assert element.tag != "script" or element["src"].startswith("/page/")
    for name, text in FILES.items():
        outside = set(re.findall(r"(?:https?:)?//[\w.]+\.\w+[^\s\"']*", text))
        assert outside <= {"http://www.w3.org/2000/svg"}, name
    for text in SHEETS.values():
        assert "@import" not in text
        assert "url(" not in text


def test_scripts_never_read_a_text_as_html_or_as_code():
    for name, text in SCRIPTS.items():
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text
        ), name


def test_every_file_is_used_and_every_file_that_is_asked_for_is_there():
    asked = {
        element.get("src") or element.get("href") for element in PAGE if element.tag in ("script", "link")
    }
    used = {"index.html"} | {address.removeprefix("/page/") for address in asked}
    for text in SCRIPTS.values():
        used |= set(re.findall(r'from "\./([\w.]+)"', text))
    assert used == set(FILES)


def test_what_a_script_imports_its_neighbour_exports():
    exported = {
        name: set(
            re.findall(r"^export (?:async )?(?:function\*? |const |class )([\w$]+)", text, re.MULTILINE)
        )
        for name, text in SCRIPTS.items()
    }
    for name, text in SCRIPTS.items():
        for names, neighbour in re.findall(r'import \{([^}]+)\} from "\./([\w.]+)"', text):
            wanted = {one.strip() for one in names.split(",") if one.strip()}
            assert wanted <= exported[neighbour], (name, neighbour)
            body = re.sub(r"^import .*?;$", "", text, flags=re.MULTILINE | re.DOTALL)
            for one in wanted:
                assert re.search(rf"(?<!\w){re.escape(one)}(?!\w)", body), f"{name} does not use {one}"


def test_every_element_that_a_script_asks_for_is_on_the_page():
    assert [name for name, count in Counter(IDS).items() if count > 1] == []
    for name, text in SCRIPTS.items():
        asked = set(re.findall(r'\$\("([\w-]+)"\)', text))
        assert asked <= set(IDS), name


def test_everything_that_is_typed_or_pressed_has_a_name():
    labelled = {element["for"] for element in PAGE if element.tag == "label" and "for" in element}
    assert labelled <= set(IDS)
    for element in TYPED:
        named = "aria-label" in element or element["id"] in labelled or element.inside("label")
        assert named, element
    filled = {"make"}  # its text tells how many pictures
    for element in PAGE:
        if (
            element.tag == "button"
            and element.get("id") not in filled
            and "panel" not in element.get("class", "")
        ):
            assert element.text.strip(), element
        assert element.tag != "img" or "alt" in element


def test_the_form_asks_for_what_the_server_takes():
    asked = Asked()
    form = [element for element in TYPED if element.inside("form", id="asked") and "name" in element]
    names = {element["name"] for element in form}
    assert names <= set(vars(asked))
    assert names | {*PICTURES, "show", "show_every", "noise_level"} == set(vars(asked))
    for element in form:
        if element["name"] == "count":
            assert int(element["value"]) == asked.count
    options = [element for element in PAGE if element.tag == "option" and element.get("value")]
    assert options
    for option in options:
        field = next(each for each in option.within if each.tag == "select")["name"]
        assert (
            getattr(Asked.read({field: option["value"], **beside(field)}, Limits(), ()), field)
            == option["value"]
        )


def beside(field):
    """What a field is never given without."""
    return {"hires_scale": 2} if field == "hires_in" else {}


def test_every_word_is_explained_in_a_sentence_and_every_explanation_is_used():
    words = {element["data-word"] for element in PAGE if "data-word" in element}
    said = {element["id"].removeprefix("word-"): element for element in PAGE if element.tag == "dd"}
    assert words == set(said)
    for element in said.values():
        text = " ".join(element.text.split())
        assert text.endswith(".")
        assert 40 < len(text) < 260, text


def test_letters_stand_out_from_their_ground_in_light_and_in_dark():
    """WCAG 2.2, 1.4.3: a contrast of 4.5 for text."""
    light, dark = re.findall(r":root \{(.*?)\}", FILES["page.css"], re.DOTALL)[:2]
    for sheet in (light, dark):
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", sheet))
        for letters in ("ink", "soft", "signal", "noise", "bad"):
            for ground in ("paper", "card"):
                assert contrast(colours[letters], colours[ground]) >= 4.5, (letters, ground)
        assert contrast(colours["on-signal"], colours["signal"]) >= 4.5


def contrast(one, other):
    """(L1 + 0.05) / (L2 + 0.05) of relative luminances L (WCAG 2.2)."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a real server in a real browser."""
    folder = tmp_path_factory.mktemp("page")
    editor = str(folder / "editor.safetensors")
    save_file(miniature_file.tensors(replace(miniature_file.UNET, in_channels=8)), editor)
    with Chromium(folder / "profile") as browser, Served(folder / "served", "-m", editor) as served:
        browser.open(served.url)
        browser.until("document.getElementById('server').dataset.state === 'ready'")
        yield browser
        assert browser.problems == []


PIXELS = """
Promise.all([...document.querySelectorAll(".panel img")].map(async image => {
  await image.decode();
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
  return [...data].filter((_, place) => place % 4 === 0);
}))"""


def text(of):
    return f"document.getElementById('{of}').textContent"


def write(page, field, value):
    page.run(f"document.getElementById('{field}').focus(), document.getElementById('{field}').select()")
    page.write(value)


def pictures(number):
    """That so many pictures are in the gallery, and each of them is loaded."""
    loaded = f"images.length === {number} && images.every(image => image.naturalWidth === 8)"
    return f"(images => {loaded})([...document.querySelectorAll('#gallery img')])"


def walk(page, look):
    """Go to a look with the slider; the number of its step."""
    page.run(f"document.getElementById('step').value = {look}")
    page.run("document.getElementById('step').dispatchEvent(new Event('input'))")
    return int(page.run(text("where")).removeprefix("Step ").removesuffix(" of 20"))


def test_a_prompt_is_typed_and_its_picture_appears_with_the_loop_that_made_it(page):
    write(page, "prompt", "a seven")
    write(page, "seed", "7")
    page.press("Enter", control=True)
    page.until(pictures(1))
    page.until(f"{text('hero-told')}.startsWith('a seven · seed 7')")
    assert page.run(text("where")) == "Step 20 of 20"
    looked = [
        walk(page, look) for look in range(1, page.run("Number(document.getElementById('step').max)") + 1)
    ]
    # the job may be steps ahead of its page, which then misses those; what it has stands in its order up to the end
    assert looked == sorted(set(looked))
    assert looked[-1] == 20
    shown = page.run("[...document.querySelectorAll('.panel img')].map(image => image.src.slice(0, 22))")
    assert shown == ["data:image/png;base64,"] * 3
    assert page.run("document.querySelectorAll('#chart circle').length") == 2


def test_what_is_shown_of_a_step_is_the_equation_that_it_is_shown_as(page):
    """Sample = factor x predicted picture + factor x residual, wherever no picture is at black or white.

    Within 0.02 of a range of 2: the factors are read as they stand there, in two digits, and pixels have 255 values.
    """
    looks = page.run("Number(document.getElementById('step').max)")
    for look in {1, (looks + 1) // 2}:
        walk(page, look)
        sample, predicted, residual = (np.array(grey) / 127.5 - 1 for grey in page.run(PIXELS))
        alpha, sigma = (float(page.run(text(factor))) for factor in ("alpha", "sigma"))
        inside = (np.abs([sample, predicted, residual]) < 0.99).all(0)
        assert inside.sum() > 8
        assert np.abs(sample - alpha * predicted - sigma * residual)[inside].max() < 0.02


def test_a_refusal_stands_at_its_field(page):
    write(page, "steps", "0")
    page.press("Enter", control=True)
    page.until("document.querySelector('.field .error') !== null")
    field = page.run("document.querySelector('.field .error').parentElement.querySelector('input').name")
    assert field == "steps"
    assert page.run("document.activeElement.getAttribute('aria-invalid')") == "true"
    page.run("document.getElementById('steps').value = ''")


def test_a_model_that_edits_has_the_fields_of_an_edit(page):
    def choose(model):
        page.run(
            f"(model => {{ model.value = {model!r}; model.dispatchEvent(new Event('change')); }})"
            "(document.getElementById('model'))"
        )
        return {
            name: not page.run(f"document.querySelector('[name={name}]').closest('[hidden]') !== null")
            for name in ("guidance_rescale", "guidance_interval", "strength")
        }

    assert set(choose("editor").values()) == {False}
    assert page.run("document.getElementById('model-summary').textContent").endswith(
        "edits a picture by instruction"
    )
    assert choose("digits")["guidance_rescale"]


def test_seeds_beyond_what_a_double_holds_are_kept_to_the_last_digit(page):
    told = page.run(
        """import("/page/exact.js").then(({ parse, write }) => [write({ seed: "9007199254740993", steps: 2 }),
        parse('{"seed": 9007199254740993}').seed, parse('{"seed": 7}').seed, write({ seed: "007" })])"""
    )
    assert told == ['{"steps":2,"seed":9007199254740993}', "9007199254740993", 7, '{"seed":7}']


@pytest.mark.parametrize(
    ("style", "key", "before", "after"),
    [
        ("a1111", "ArrowUp", "a |red| apple", "a (|red|:1.1) apple"),
        ("a1111", "ArrowUp", "a (|red|:1.1) apple", "a (|red|:1.2) apple"),
        ("a1111", "ArrowDown", "a (|red|:1.1) apple", "a |red| apple"),
        ("a1111", "ArrowDown", "a re|d apple", "a (|red|:0.9) apple"),
        ("a1111", "ArrowUp", "a |(red apple:1.2)|", "a (|red apple|:1.3)"),
        ("comfyui", "ArrowUp", "a (r|ed:1) apple", "a (|red|:1.1) apple"),
        ("compel", "ArrowUp", "a |red cat|", "a (|red cat|)1.1"),
        ("compel", "ArrowDown", "a (|red cat|)1.5", "a (|red cat|)1.4"),
        ("plain", "ArrowUp", "a |red| apple", "a |red| apple"),
    ],
)
def test_keys_change_the_weight_of_the_words_that_are_selected(page, style, key, before, after):
    first, second = (before.index("|"), before.rindex("|"))
    plain, marks = before.replace("|", ""), (first, second - 1 if second > first else first)
    page.run(f"document.getElementById('prompt-style').value = '{style}'")
    write(page, "prompt", plain)
    page.run(f"document.getElementById('prompt').setSelectionRange({marks[0]}, {marks[1]})")
    page.press(key, control=True)
    value, start, end = page.run(
        "(area => [area.value, area.selectionStart, area.selectionEnd])(document.getElementById('prompt'))"
    )
    assert f"{value[:start]}|{value[start:end]}|{value[end:]}" == after
    if value != plain:
        page.run("document.execCommand('undo')")
        assert page.run("document.getElementById('prompt').value") == plain


def test_what_is_typed_and_what_was_made_is_there_after_a_reload(page):
    write(page, "prompt", "an eight, not made yet")
    page.reload()
    page.until("document.getElementById('server')?.dataset.state === 'ready'")
    page.until(pictures(1))
    assert page.run("document.getElementById('prompt').value") == "an eight, not made yet"


def test_a_picture_that_is_dropped_gives_its_settings_back(page):
    """The server reads the recipe in the PNG; what the form held before is replaced."""
    page.run("""
        fetch(document.querySelector("#gallery img").src).then(answer => answer.blob()).then(blob => {
          const carried = new DataTransfer();
          carried.items.add(new File([blob], "seven.png", { type: "image/png" }));
          window.dispatchEvent(new DragEvent("drop", { dataTransfer: carried, cancelable: true }));
        })""")
    page.until("!document.getElementById('found').hidden")
    assert "a seven" in page.run(text("found-summary"))
    page.run("document.getElementById('found-use').click()")
    found = page.run("['prompt', 'seed', 'steps'].map(field => document.getElementById(field).value)")
    assert found == ["a seven", "7", "20"]


def test_where_no_mask_is_painted_every_pixel_is_kept(page):
    """With the keyboard: one dab at the middle, so one pixel of the 64 is made anew."""
    page.run(
        "document.querySelector('#gallery button').click(), document.getElementById('viewer-start').click()"
    )
    page.until("!document.getElementById('init').hidden")
    page.run("document.getElementById('paint').click()")
    page.press(" ")
    page.run("document.getElementById('painted').click()")
    page.until("!document.getElementById('mask-shown').hidden")
    write(page, "prompt", "a one")
    page.press("Enter", control=True)
    page.until(pictures(2))
    made, before = (np.array(grey) for grey in page.run(PIXELS.replace(".panel img", "#gallery img")))
    changed = np.flatnonzero(made != before)
    assert set(changed) <= {4 * 8 + 4}
    page.run("document.getElementById('init-remove').click()")


def test_a_job_of_ones_own_is_cancelled_and_leaves_no_picture(page):
    write(page, "steps", "1000")
    page.press("Enter", control=True)
    page.until("document.querySelector('#queue .quiet') !== null")
    page.run("document.querySelector('#queue .quiet').click()")
    page.until("document.getElementById('queue-part').hidden")
    assert page.run(pictures(2))
