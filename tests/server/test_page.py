"""The page of `unnoise serve`: what its files promise, and that a person who types a prompt gets the picture."""

import io
import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import fields, replace
from html.parser import HTMLParser
from importlib import resources

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file

import miniature_file
from chromium import Chromium
from served import Served
from unnoise.pipelines import Recipe
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


def test_nothing_is_there_that_nobody_uses():
    """Exported names, ids and classes; an id is used by a script, a sheet, or another element that refers to it."""
    scripts, sheets = "\n".join(SCRIPTS.values()), "\n".join(SHEETS.values())
    for name, text in SCRIPTS.items():
        taken = "".join(
            names
            for other in SCRIPTS.values()
            for names, neighbour in re.findall(r'import (\{[^}]+\}) from "\./([\w.]+)"', other)
            if neighbour == name
        )
        for one in re.findall(
            r"^export (?:async )?(?:function\*? |const |class )([\w$]+)", text, re.MULTILINE
        ):
            assert re.search(rf"(?<!\w){re.escape(one)}(?!\w)", taken), f"nobody imports {one} of {name}"
    referring = ("for", "href", "aria-labelledby", "aria-controls")
    named = {element[name].lstrip("#") for element in PAGE for name in referring if name in element}
    words = {f"word-{element['data-word']}" for element in PAGE if "data-word" in element}
    for one in IDS:
        assert one in named | words or f'"{one}"' in scripts or re.search(rf"#{one}\b", sheets), one
    written = scripts + FILES["index.html"]
    selectors = re.findall(r"([^{}]+)\{", re.sub(r"/\*.*?\*/", "", sheets, flags=re.DOTALL))
    for one in {name for each in selectors for name in re.findall(r"\.([a-z][\w-]*)", each)}:
        assert re.search(rf"(?<![\w-]){one}(?![\w-])", written), one


def test_no_rule_of_a_sheet_is_written_twice():
    rules = Counter()
    for text in SHEETS.values():
        for body in re.findall(r"\{([^{}]*)\}", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)):
            rules[frozenset(line.strip() for line in body.split(";") if line.strip())] += 1
    assert [set(rule) for rule, count in rules.items() if count > 1 and len(rule) > 1] == []


def test_what_changes_at_every_step_is_not_read_out():
    """A live region that is told each step never comes to an end; these are told now and then."""
    live = [element for element in PAGE if element.tag == "output" or "aria-live" in element]
    live += [element for element in PAGE if element.get("role") in ("status", "alert")]
    assert {element["id"] for element in live} == {
        "server",
        "model-lacking",
        "refused",
        "hero-told",
        "progress",
        "gate-told",
        "told",
    }


def test_every_element_that_a_script_asks_for_is_on_the_page():
    assert [name for name, count in Counter(IDS).items() if count > 1] == []
    for name, text in SCRIPTS.items():
        asked = set(re.findall(r'\$\("([\w-]+)"\)', text))
        assert asked <= set(IDS), name


def test_everything_that_is_typed_or_pressed_has_a_name():
    labelled = {element["for"] for element in PAGE if element.tag == "label" and "for" in element}
    assert labelled <= set(IDS)
    for element in TYPED:
        named = "aria-label" in element or element.get("id") in labelled or element.inside("label")
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
    assert names | {*PICTURES, "show", "show_every"} == set(
        vars(asked)
    )  # the page needs all three to be shown
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


def test_the_viewer_tells_every_field_of_a_recipe():
    told = set(re.findall(r"\brecipe\.(\w+)", SCRIPTS["viewer.js"]))
    assert told | {"seed", "width", "height"} == {field.name for field in fields(Recipe)}


def test_letters_stand_out_from_their_ground_in_light_and_in_dark():
    """WCAG 2.2: a contrast of 4.5 for text (1.4.3), and of 3 for the edge by which a field is known (1.4.11)."""
    light, dark = re.findall(r":root \{(.*?)\}", FILES["page.css"], re.DOTALL)[:2]
    for sheet in (light, dark):
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", sheet))
        for letters in ("ink", "soft", "signal", "noise", "bad"):
            for ground in ("paper", "card"):
                assert contrast(colours[letters], colours[ground]) >= 4.5, (letters, ground)
        assert contrast(colours["on-signal"], colours["signal"]) >= 4.5
        assert min(contrast(colours["edge"], colours[ground]) for ground in ("paper", "card")) >= 3
    assert re.search(r"\ntextarea \{[^}]*border: 1px solid var\(--edge\)", FILES["form.css"])


def test_nothing_moves_for_who_asks_for_less_motion():
    """Transitions stand where motion is welcome; pictures of steps come at a slower pace (stage.js asks for it)."""
    for name, text in SHEETS.items():
        calm = re.sub(
            r"@media \(prefers-reduced-motion: no-preference\) \{.*?\n\}", "", text, flags=re.DOTALL
        )
        assert not re.search(r"transition|animation|scroll-behavior", calm), name
    assert not any("smooth" in text for text in SCRIPTS.values())
    assert '"(prefers-reduced-motion: reduce)"' in SCRIPTS["stage.js"]


def contrast(one, other):
    """(L1 + 0.05) / (L2 + 0.05) of relative luminances L (WCAG 2.2)."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.fixture(scope="module")
def editor(tmp_path_factory):
    """A model that edits pictures."""
    file = str(tmp_path_factory.mktemp("editor") / "editor.safetensors")
    save_file(miniature_file.tensors(replace(miniature_file.UNET, in_channels=8)), file)
    return file


@pytest.fixture(scope="module")
def server(tmp_path_factory, editor):
    """The server that tests share, begun once more where one of them has ended it."""
    begun = []

    def running():
        if not begun or begun[-1].process.poll() is not None:
            begun.append(Served(tmp_path_factory.mktemp("page") / "served", "-m", editor))
        return begun[-1]

    yield running
    for each in begun:
        each.kill()


@pytest.fixture
def served(server):
    return server()


@pytest.fixture(scope="module")
def browser(server, tmp_path_factory):
    server()  # which has its models to read meanwhile
    with Chromium(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def page(served, browser):
    """The page as a person finds it who has never opened it: somebody made one picture, "a seven", in 20 steps."""
    leave_one_picture(served.ready())
    browser.send("Storage.clearDataForOrigin", origin=served.url, storageTypes="all")
    browser.send("Page.navigate", url=served.url)
    browser.until(f"{READY} && {pictures(1)}")
    yield from watched(browser)


@pytest.fixture
def form(request, served, browser):
    """The page with an empty form, and with a picture or more, as other tests left them."""
    if browser.run(f"location.origin === '{served.url}' && {READY} && {AS_LOADED}"):
        browser.run(EMPTY)
        yield from watched(browser)
    else:
        yield request.getfixturevalue("page")


def watched(browser):
    """No error is met in the test."""
    browser.send("Emulation.clearDeviceMetricsOverride")
    browser.problems.clear()
    yield browser
    assert browser.problems == []


READY = "document.getElementById('server')?.dataset.state === 'ready'"
AS_LOADED = """!window.altered && /native code/.test(fetch) &&
  document.querySelector("#gallery img")?.naturalWidth === 8"""
EMPTY = """Promise.all(["form", "init"].map((name) => import(`/page/${name}.js`))).then((parts) => {
  const [{ accept, fill }, { init }] = parts;
  sessionStorage.clear();
  for (const open of document.querySelectorAll("dialog[open]")) open.close();
  for (const part of document.querySelectorAll("details")) part.open = false;
  init.set(null);
  fill({ model: "digits" });
  document.getElementById("model").dispatchEvent(new Event("change"));
  accept();
  document.getElementById("found").hidden = true;
  document.getElementById("told").replaceChildren();
})"""


def leave_one_picture(served):
    """Of what other tests made nothing stays but the first picture, made anew where that is gone."""
    jobs = served.ask("GET", "/api/jobs")[2]["jobs"]
    kept = [job["id"] for job in jobs if (job["state"], job["asked"]["prompt"]) == ("done", "a seven")][-1:]
    for job in jobs:
        while job["id"] not in kept and served.ask("DELETE", f"/api/jobs/{job['id']}")[0] == 200:
            pass  # the first time cancels one that has not ended
    if not kept:
        show = {"show": ["x0", "sample", "noise"]}
        served.ended(served.submit(prompt="a seven", seed=7, **show)["id"])


@contextmanager
def at_each_load(page, script):
    """Run a script before those of the page, whenever that is loaded within this block."""
    begun = page.send("Page.addScriptToEvaluateOnNewDocument", source=f"window.altered = true; {script}")
    try:
        yield
    finally:
        page.send("Page.removeScriptToEvaluateOnNewDocument", identifier=begun["identifier"])


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


def choose(page, field, value):
    """Give a field a value as a person does, with what is told of it."""
    page.run(f"""(field => {{
      field.value = {value!r};
      for (const told of ["input", "change"]) field.dispatchEvent(new Event(told, {{ bubbles: true }}));
    }})(document.getElementById('{field}'))""")


def press(page, button):
    page.run(f"document.querySelector({button!r}).click()")


def mouse(page, kind, place):
    page.send(
        "Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", buttons=1, clickCount=1
    )


def pictures(number, side=8):
    """That so many pictures are in the gallery, and each of them is loaded."""
    loaded = f"images.length === {number} && images.every(image => image.naturalWidth === {side})"
    return f"(images => {loaded})([...document.querySelectorAll('#gallery img')])"


def made(page):
    """How many pictures there are."""
    return page.run("document.querySelectorAll('#gallery img').length")


def watch(page):
    """Have the newest picture on the stage, at its first step of 20."""
    press(page, "#gallery button")
    press(page, "#viewer-watch")
    page.until(f"{text('where')} === 'Step 1 of 20'")


def walk(page, look):
    """Go to a look with the slider; the number of its step."""
    choose(page, "step", str(look))
    return int(page.run(text("where")).removeprefix("Step ").split(" ")[0])


def test_a_prompt_is_typed_and_its_picture_appears_with_the_loop_that_made_it(page):
    write(page, "prompt", "a four")
    write(page, "seed", "4")
    page.press("Enter", control=True)
    page.until(pictures(2))
    page.until(f"{text('hero-told')}.startsWith('a four · seed 4')")
    assert page.run(text("where")) == "Step 20 of 20"
    looked = [
        walk(page, look) for look in range(1, page.run("Number(document.getElementById('step').max)") + 1)
    ]
    assert looked == sorted(set(looked))
    assert (looked[0], looked[-1]) == (1, 20)  # also where the job was steps ahead of its page, or had ended
    shown = page.run("[...document.querySelectorAll('.panel img')].map(image => image.src.slice(0, 22))")
    assert shown == ["data:image/png;base64,"] * 3
    assert page.run("document.querySelectorAll('#chart circle').length") == 2


def test_what_is_shown_of_a_step_is_the_equation_that_it_is_shown_as(page):
    """Sample = factor x predicted picture + factor x residual, wherever no picture is at black or white.

    Within 0.02 of a range of 2: the factors are read as they stand there, in two digits, and pixels have 255 values.
    """
    watch(page)
    looks = page.run("Number(document.getElementById('step').max)")
    for look in {1, (looks + 1) // 2}:
        walk(page, look)
        sample, predicted, residual = (np.array(grey) / 127.5 - 1 for grey in page.run(PIXELS))
        alpha, sigma = (float(page.run(text(factor))) for factor in ("alpha", "sigma"))
        inside = (np.abs([sample, predicted, residual]) < 0.99).all(0)
        assert inside.sum() > 8
        assert np.abs(sample - alpha * predicted - sigma * residual)[inside].max() < 0.02


def test_a_refusal_stands_at_its_field_until_something_else_is_typed(form):
    write(form, "steps", "0")
    form.press("Enter", control=True)
    form.until("document.querySelector('#error') !== null")
    field = form.run("document.querySelector('#error').parentElement.querySelector('input').name")
    assert field == "steps"
    assert form.run("document.activeElement.name") == "steps"
    assert form.run("document.activeElement.getAttribute('aria-invalid')") == "true"
    write(form, "steps", "5")
    assert form.run("document.querySelector('#error, [aria-invalid]') === null")


def test_a_model_that_edits_has_the_fields_of_an_edit(form):
    def fields(model):
        choose(form, "model", model)
        return {
            name: not form.run(f"document.querySelector('[name={name}]').closest('[hidden]') !== null")
            for name in ("guidance_rescale", "guidance_interval", "strength")
        }

    assert set(fields("editor").values()) == {False}
    assert form.run("document.getElementById('model-summary').textContent").endswith(
        "edits a picture by instruction"
    )
    assert fields("digits")["guidance_rescale"]


def test_a_scheduler_is_found_by_what_it_does(form):
    form.run("document.getElementById('scheduler').focus()")
    form.write("draws noise")
    found = form.run(
        "[...document.querySelectorAll('#schedulers [role=option]')].map(row => row.textContent)"
    )
    assert len(found) > 5
    assert all("draws noise" in row for row in found)
    form.press("ArrowDown")
    active = form.run("document.getElementById('scheduler').getAttribute('aria-activedescendant')")
    assert form.run(f"document.getElementById({active!r}).getAttribute('aria-selected')") == "true"
    form.press("Enter")
    chosen = form.run("document.getElementById('scheduler').value")
    assert found[0].startswith(chosen)
    assert form.run("document.getElementById('scheduler').getAttribute('aria-expanded')") == "false"


def test_seeds_beyond_what_a_double_holds_are_kept_to_the_last_digit(form):
    told = form.run(
        """import("/page/exact.js").then(({ parse, write }) => [write({ seed: "9007199254740993", steps: 2 }),
        parse('{"seed": 9007199254740993}').seed, parse('{"seed": 7}').seed, write({ seed: "007" }),
        write(parse('{"variation":[9007199254740993,0.5]}'))])"""
    )
    whole = ['{"steps":2,"seed":9007199254740993}', "9007199254740993", 7, '{"seed":7}']
    assert told == [*whole, '{"variation":[9007199254740993,0.5]}']


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
def test_keys_change_the_weight_of_the_words_that_are_selected(form, style, key, before, after):
    first, second = (before.index("|"), before.rindex("|"))
    plain, marks = before.replace("|", ""), (first, second - 1 if second > first else first)
    form.run(f"document.getElementById('prompt-style').value = '{style}'")
    write(form, "prompt", plain)
    form.run(f"document.getElementById('prompt').setSelectionRange({marks[0]}, {marks[1]})")
    form.press(key, control=True)
    value, start, end = form.run(
        "(area => [area.value, area.selectionStart, area.selectionEnd])(document.getElementById('prompt'))"
    )
    assert f"{value[:start]}|{value[start:end]}|{value[end:]}" == after
    if value != plain:
        form.run("document.execCommand('undo')")
        assert form.run("document.getElementById('prompt').value") == plain


def test_what_is_typed_and_what_was_made_is_there_after_a_reload(form):
    write(form, "prompt", "an eight, not made yet")
    open_again(form)
    assert form.run("document.getElementById('prompt').value") == "an eight, not made yet"


def open_again(page):
    """Load the page once more, until all of it is there."""
    there = made(page)
    page.reload()
    page.until(f"{READY} && {pictures(there)}")


KEPT = """import("/page/init.js").then(({ init }) => new Promise((done) => {
  const opened = indexedDB.open("unnoise");
  opened.onsuccess = () => {
    const kept = opened.result.transaction("picture").objectStore("picture").get("picture");
    kept.onsuccess = () => {
      const { picture, mask } = kept.result ?? {};
      done((picture?.width ?? null) === (init.picture?.width ?? null) && (mask ?? null) === (init.mask ?? null));
    };
  };
}))"""
"""Whether the browser keeps the picture to begin from, and the mask, that the page has."""


def test_of_a_long_run_the_first_step_is_seen_and_then_about_sixty(form):
    """The server leaves some out of a run as fast as this one, never the first; here all that are asked for count."""
    asked = form.run("""import("/page/api.js").then(async () => {
      const [plain, asked] = [window.fetch, []];
      window.fetch = async (path, options) => {
        if (options?.method !== "POST") return plain(path, options);
        asked.push(JSON.parse(options.body).show_every);
        return new Response("{}", { status: 400 });
      };
      for (const steps of [1, 60, 61, 119, 150, 1000]) {
        document.getElementById("steps").value = steps;
        document.getElementById("make").click();
        await new Promise((done) => setTimeout(done, 30));
      }
      window.fetch = plain;
      return asked;
    })""")
    looks = [steps / every for steps, every in zip((1, 60, 61, 119, 150, 1000), asked, strict=True)]
    assert looks[0] == 1
    assert all(40 <= look <= 90 for look in looks[1:]), looks
    before = made(form)
    choose(form, "steps", "100")
    press(form, "#make")
    form.until(f"{text('where')} === 'Step 100 of 100' && {pictures(before + 1)}")
    assert walk(form, 1) == 1


def test_what_is_typed_while_the_model_is_loaded_stays(form):
    """The rest is what was kept from before."""
    choose(form, "negative", "a two")
    held = """window.plain = window.fetch;
      window.fetch = async (path, options) => {
        while (path === "/api/models" && !window.loaded) await new Promise((done) => setTimeout(done, 20));
        return plain(path, options);
      }"""
    with at_each_load(form, held):
        form.reload()
    write(form, "prompt", "typed early")
    form.run("window.loaded = true")
    form.until(READY)
    filled = form.run("['prompt', 'negative'].map(field => document.getElementById(field).value)")
    assert filled == ["typed early", "a two"]


def test_a_browser_that_keeps_nothing_has_a_page_all_the_same(form):
    """Where site data are blocked, asking for them is an error already."""
    blocked = """for (const name of ["localStorage", "sessionStorage", "indexedDB"]) {
      Object.defineProperty(window, name, { get() { throw new DOMException("blocked", "SecurityError"); } });
    }"""
    with at_each_load(form, blocked):
        open_again(form)
    write(form, "prompt", "a three")
    begin_from_a_picture(form)
    form.until(f"{text('told')} !== ''")
    assert "cannot keep the picture to begin from" in form.run(text("told"))


BEGUN = f"""import("/page/init.js").then(({{ init }}) => [init.picture?.width ?? null, init.mask !== null,
  {text("strength-told")}, document.getElementById("feather").value])"""


def test_the_picture_to_begin_from_and_its_mask_are_there_after_a_reload(form):
    """With what is typed beside them; once it is removed, it does not come back."""
    begin_from_a_picture(form)
    paint(form)
    form.press(" ")
    press(form, "#painted")
    choose(form, "feather", "3")
    before = form.run(BEGUN)
    assert before == [8, True, "1.00", "3"]
    form.until(KEPT)
    open_again(form)
    assert form.run(BEGUN) == before
    paint(form)
    assert painted(form) == [4 * 8 + 4]
    press(form, "#init-remove")
    form.until(KEPT)
    open_again(form)
    assert form.run(BEGUN)[:2] == [None, False]


def test_a_picture_for_which_there_is_no_room_is_said_not_to_be_kept(form):
    """Nor does the one before it come back in its place."""
    begin_from_a_picture(form)
    form.run(
        "IDBObjectStore.prototype.put = function () { this.transaction.abort(); }"
    )  # as for want of room
    form.run("import('/page/init.js').then(({ init }) => init.set({ ...init.picture, width: 9 }))")
    form.until(f"{text('told')} !== ''")
    assert "after a reload, add it again" in form.run(text("told"))
    open_again(form)
    assert form.run(BEGUN)[0] is None


def test_a_stream_that_was_cut_goes_on_after_the_step_that_was_heard_last(page):
    """Half of what the server sends arrives; the rest comes with the next request, and no step twice."""
    heard, asked = page.run("""import("/page/events.js").then(async ({ events }) => {
      const [plain, asked, heard] = [window.fetch, [], []];
      window.fetch = async (path, options) => {
        const answer = await plain(path, options);
        if (!path.endsWith("/events")) return answer;
        asked.push(options.headers["Last-Event-ID"] ?? "");
        const text = await answer.text();
        return new Response(asked.length > 1 ? text : text.slice(0, text.length / 2));
      };
      const id = document.querySelector("#gallery li").dataset.name.split("-")[0];
      for await (const { seen } of events(id, new AbortController().signal)) if (seen) heard.push(seen.index);
      window.fetch = plain;
      return [heard, asked];
    })""")
    assert heard == [*range(1, 21)]
    assert asked[0] == ""
    assert re.fullmatch(r"1-1?\d", asked[1])


def test_older_jobs_are_had_also_where_the_oldest_that_is_known_is_no_longer_kept(page):
    """The server let go of it meanwhile, or another page did."""
    known, then, complete = page.run("""import("/page/jobs.js").then(async ({ Jobs }) => {
      const [jobs, plain] = [new Jobs(), window.fetch];
      const gone = { id: "0".repeat(20), state: "done", created: 1, images: [] };
      window.fetch = async () => new Response(JSON.stringify({ jobs: [gone] }));
      await jobs.older();
      window.fetch = plain;
      const known = jobs.list.map(({ id }) => id);
      await jobs.older();
      return [known, jobs.list.map(({ asked }) => asked.prompt), jobs.complete];
    })""")
    assert known == ["0" * 20]
    assert (then, complete) == (["a seven"], True)


def test_a_job_is_of_the_browser_that_asked_for_it_in_whichever_tab(form):
    owned = form.run("""import("/page/jobs.js").then(async ({ Jobs }) => {
      const tabs = [new Jobs(), new Jobs()];
      const plain = window.fetch;
      const ask = (tab, id) => {
        const job = { id, state: "done", created: 1, images: [] };
        window.fetch = async () => new Response(JSON.stringify(job));
        return tab.submit({});
      };
      await ask(tabs[0], "one");
      await ask(tabs[1], "two");
      window.fetch = plain;
      dispatchEvent(new StorageEvent("storage")); // as the browser tells other tabs
      return [...tabs, new Jobs()].map((tab) => ["one", "two"].map((id) => tab.owns(id)));
    })""")
    assert owned == [[True, True]] * 3


def test_how_a_picture_was_made_is_shown_after_a_reload_as_long_as_the_server_knows(page):
    page.run("""window.plain = window.fetch;
      window.fetch = async (path, options) => {
        const answer = await plain(path, options);
        if (!path.endsWith("/events")) return answer;
        return new Response((await answer.text()).replace(/event: step[^]*event: done/, ""));
      }""")
    press(page, "#gallery button")
    press(page, "#viewer-watch")
    page.until(f"{text('told')} !== ''")
    assert "no longer kept" in page.run(text("told"))
    page.run("window.fetch = window.plain")
    watch(page)
    assert page.run("document.querySelectorAll('.panel.blank').length") == 0
    assert walk(page, page.run("Number(document.getElementById('step').max)")) == 20


def drop(page, picture):
    """A file, as the promise of a blob, dropped on the page; until its settings are offered."""
    page.run(f"""{picture}.then(blob => {{
      const carried = new DataTransfer();
      carried.items.add(new File([blob], "seven.png", {{ type: "image/png" }}));
      window.dispatchEvent(new DragEvent("drop", {{ dataTransfer: carried, cancelable: true }}));
    }})""")
    page.until("!document.getElementById('found').hidden")


def test_a_size_far_above_the_models_own_is_told_before_it_is_asked_for(form):
    """Of a dropped picture: 512 x 512 and a second pass of twice that, of a model that makes 8 x 8; 128^2 times."""
    words = PngImagePlugin.PngInfo()
    passes = "Denoising strength: 0.5, Hires upscale: 2, Hires upscaler: Latent"
    settings = f"Steps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 512x512, {passes}"
    words.add_text("parameters", f"a cat\n{settings}")
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "png", pnginfo=words)
    assert form.run(text("large")) == ""
    drop(form, f"Promise.resolve(new Blob([new Uint8Array({list(file.getvalue())})]))")
    press(form, "#found-use")
    assert (
        form.run(text("large"))
        == "digits makes 8 × 8; 1024 × 1024 has about 16,000 times as many pixels, and takes longer."
    )
    press(form, "#defaults")
    assert form.run(text("large")) == ""
    choose(form, "width", "16")
    choose(form, "height", "16")
    assert form.run(text("large")) == ""


def test_settings_of_a_model_that_is_not_served_leave_the_model_and_that_is_said_beside_it(form):
    """Of a job of an earlier start, and of a picture that another program made; until a model is chosen."""
    choose(form, "model", "editor")
    for asked, said in (
        ("{ model: 'gone', steps: 4 }", "“gone” is not served here; editor is chosen instead."),
        ("{ steps: 4 }", "The model of these settings is not known here; editor is chosen instead."),
    ):
        form.run(f"import('/page/form.js').then(({{ fill }}) => fill({asked}))")
        assert form.run("document.getElementById('model').value") == "editor"
        assert form.run(text("model-lacking")) == said
    choose(form, "model", "digits")
    assert form.run(text("model-lacking")) == ""


def test_a_picture_that_is_dropped_gives_its_settings_back(page):
    """The server reads the recipe in the PNG; what the form held before is replaced."""
    drop(page, "fetch(document.querySelector('#gallery img').src).then(answer => answer.blob())")
    assert "a seven" in page.run(text("found-summary"))
    page.run("document.getElementById('found-use').click()")
    found = page.run("['prompt', 'seed', 'steps'].map(field => document.getElementById(field).value)")
    assert found == ["a seven", "7", "20"]


def test_where_no_mask_is_painted_every_pixel_is_kept_and_its_settings_bring_back_the_mask(form):
    """With the keyboard: one dab at the middle, so one pixel of the 64 is made anew. The server keeps no mask."""
    begin_from_a_picture(form)
    paint(form)
    form.press(" ")
    press(form, "#painted")
    form.until("!document.getElementById('mask-shown').hidden")
    write(form, "prompt", "a one")
    there = made(form)
    form.press("Enter", control=True)
    form.until(pictures(there + 1))
    new, old = map(np.array, form.run(PIXELS.replace(".panel img", "#gallery img"))[:2])
    changed = np.flatnonzero(new != old)
    assert set(changed) <= {4 * 8 + 4}
    press(form, "#init-remove")
    press(form, "#gallery button")
    press(form, "#viewer-use")
    assert form.run(BEGUN)[:3] == [8, True, "1.00"]
    assert form.run("document.activeElement.id") == "prompt"


MASK = "import('/page/init.js').then(({ init }) => init.mask)"
EASEL = """(box => [0.2, 0.8].map(share => [box.left + share * box.width, box.top + share * box.height]))
(document.getElementById("canvas").getBoundingClientRect())"""


def painted(page):
    """Which pixels of the 64 are white in the mask, once the painter is closed."""
    press(page, "#painted")
    return page.run(f"""{MASK}.then(async mask => {{
      if (!mask) return [];
      const image = new Image();
      image.src = mask;
      await image.decode();
      const pen = new OffscreenCanvas(8, 8).getContext("2d");
      pen.drawImage(image, 0, 0);
      const {{ data }} = pen.getImageData(0, 0, 8, 8);
      return [...Array(64).keys()].filter(place => data[4 * place] === 255);
    }})""")


def paint(page):
    """Open the painter."""
    press(page, "#paint")
    page.until("document.getElementById('painter').open")


def begin_from_a_picture(page):
    press(page, "#gallery button")
    press(page, "#viewer-start")
    page.until("!document.getElementById('init').hidden")
    assert page.run("document.activeElement.parentElement.id") == "from"


def test_a_mask_that_came_with_a_picture_is_there_to_be_changed(form):
    """Settings of an inpainted picture bring its mask back; nothing of it goes when another place is painted."""
    begin_from_a_picture(form)
    form.run("""import("/page/init.js").then(({ init }) => {
      const sheet = Object.assign(document.createElement("canvas"), { width: 8, height: 8 });
      const pen = sheet.getContext("2d");
      pen.fillRect(0, 0, 8, 8);
      pen.fillStyle = "white";
      pen.fillRect(0, 0, 2, 1);
      init.set(init.picture, sheet.toDataURL());
    })""")
    paint(form)
    form.press(" ")
    assert painted(form) == [0, 1, 4 * 8 + 4]
    paint(form)
    press(form, "#undo")
    assert painted(form) == [0, 1]


def test_only_a_press_on_the_picture_paints(form):
    begin_from_a_picture(form)
    paint(form)
    near, far = form.run(EASEL)
    mouse(form, "mousePressed", (2, 2))
    mouse(form, "mouseMoved", near)
    mouse(form, "mouseMoved", far)
    mouse(form, "mouseReleased", far)
    assert painted(form) == []
    paint(form)
    mouse(form, "mousePressed", near)
    mouse(form, "mouseMoved", far)
    mouse(form, "mouseReleased", far)
    assert {1 * 8 + 1, 4 * 8 + 4, 6 * 8 + 6} <= set(painted(form))


def test_a_stroke_that_is_taken_back_while_it_is_drawn_does_not_go_on(form):
    """Nor does the stroke before it, a dab at the middle."""
    begin_from_a_picture(form)
    paint(form)
    form.press(" ")
    near, far = form.run(EASEL)
    for back in (1, 2):
        mouse(form, "mousePressed", near)
        for _ in range(back):
            form.press("z", control=True)
        mouse(form, "mouseMoved", far)
        mouse(form, "mouseReleased", far)
        assert painted(form) == [4 * 8 + 4][: 2 - back]
        assert form.problems == []
        paint(form)


def test_jobs_are_cancelled_where_they_are_seen_and_leave_no_picture(form):
    """The one at work on the stage, the one behind it in the queue, whose button keeps the focus at each step."""
    before = made(form)
    choose(form, "steps", "1000")
    choose(form, "count", "16")
    press(form, "#make")
    form.until("!document.getElementById('cancel').hidden")
    form.until("!document.getElementById('make').disabled")
    press(form, "#make")
    form.until("document.querySelector('#queue .quiet') !== null")
    form.run("document.querySelector('#queue .quiet').focus()")
    step = form.run(text("where"))
    form.until(f"{text('where')} !== {step!r}")
    assert form.run("document.activeElement.textContent") == "Cancel"
    form.press("Enter")
    form.until("document.getElementById('queue-part').hidden")
    assert form.run("document.activeElement.id") == "stage"
    form.run("document.getElementById('cancel').focus()")
    form.press("Enter")
    form.until("document.getElementById('cancel').hidden")
    assert form.run("document.activeElement.id") == "stage"
    assert form.run(text("hero-told")).startswith("Cancelled")
    assert form.run(pictures(before))


def test_a_job_without_pictures_of_its_steps_is_walked_through_all_the_same(form):
    """As programs ask for jobs: `show_every` 0. The chart and its steps are there, panels are empty."""
    form.run("""window.plain = window.fetch;
      window.fetch = (path, options) => plain(path, options?.body ?
        { ...options, body: options.body.replace(/"show_every":\\d+/, '"show_every":0') } : options)""")
    before = made(form)
    press(form, "#make")
    form.until(pictures(before + 1))
    form.run("window.fetch = window.plain")
    steps = form.run("Number(document.getElementById('step').max)")
    assert steps > 1
    assert walk(form, 1) < walk(form, steps) == 20
    assert form.run("document.querySelectorAll('.panel.blank').length") == 3
    form.run("document.getElementById('chart').scrollIntoView({ block: 'center' })")
    left, middle = form.run(
        "(box => [box.left + 26, box.top + 60])(document.getElementById('chart').getBoundingClientRect())"
    )
    mouse(form, "mousePressed", (left, middle))
    mouse(form, "mouseReleased", (left, middle))
    assert int(form.run("document.getElementById('step').value")) == 1


def test_a_job_whose_program_looks_at_other_things_is_shown_by_what_there_is(form):
    """Only the residual is asked for, where a page shows the predicted picture."""
    form.run("""window.plain = window.fetch;
      window.fetch = (path, options) => plain(path, options?.body ?
        { ...options, body: options.body.replace(/"show":\\[[^\\]]*\\]/, '"show":["noise"]') } : options)""")
    before = made(form)
    press(form, "#make")
    form.until(pictures(before + 1))
    form.run("window.fetch = window.plain")
    walk(form, 1)
    shown = form.run("(image => [image.hidden, image.alt])(document.querySelector('#pictures img'))")
    assert shown == [False, "The noise residual"]
    assert form.run("document.querySelectorAll('.panel.blank').length") == 2


def test_what_was_not_understood_stands_beside_the_picture(form):
    before = made(form)
    write(form, "prompt", "a zebra")
    press(form, "#make")
    form.until(pictures(before + 1))
    assert "zebra" in form.run(text("hero-notes"))
    press(form, "#gallery button")
    assert form.run(text("viewer-notes")) == form.run(text("hero-notes"))
    press(form, "#viewer-forget")
    press(form, "#viewer-forget")
    form.until(pictures(before))
    assert form.run(text("hero-notes")) == ""


@pytest.mark.parametrize("token", ["", "a word"])
def test_a_picture_that_did_not_come_is_asked_for_again(form, token):
    """Plain addresses, and those that are fetched since a token has to go with them."""
    form.run(f"sessionStorage.setItem('unnoise-token', {token!r})")
    form.send("Network.enable")
    form.send("Network.setBlockedURLs", urls=["*/api/images/*"])
    form.run("""import("/page/pictures.js").then(({ show }) => {
      const url = `${document.querySelector("#gallery img").dataset.url}?${Math.random()}`;
      window.late = document.body.appendChild(document.createElement("img"));
      late.addEventListener("error", () => (window.failed = true));
      show(late, { url, width: 8, height: 8 });
    })""")
    if not token:
        form.until("window.failed")
    form.send("Network.setBlockedURLs", urls=[])
    form.until("late.naturalWidth === 8")


def test_what_a_page_keeps_of_jobs_has_a_bound(form):
    """64 MB; the oldest go first, what a job began from and its steps together."""
    kept = form.run("""import("/page/kept.js").then(({ Kept }) => {
      const kept = new Kept();
      const step = { index: 1, previews: { x0: "x".repeat(10) } };
      for (const id of ["a", "b", "c"]) {
        kept.begin(id, { data: "x".repeat(3e7) });
        kept.add({ id, begun: 1 }, step);
      }
      kept.forget("c");
      const steps = ["a", "b", "c"].map((id) => [kept.of({ id, begun: 1 }).length, kept.from(id)?.data.length ?? 0]);
      return [...steps, kept.of({ id: "b", begun: 2 }).length];
    })""")
    assert kept == [[0, 0], [1, 30_000_000], [0, 0], 0]  # of another attempt there are no steps yet


def test_a_token_is_asked_for_until_one_is_given(form):
    form.run(
        "import('/page/gate.js').then(({ askForToken }) => { askForToken().then(() => (window.opened = true)) })"
    )
    form.until("document.getElementById('gate').open")
    for _ in range(2):
        form.press("Escape")
    assert form.run("document.getElementById('gate').open && !window.opened")
    write(form, "token", "a word")
    form.press("Enter")
    form.until("window.opened")
    assert form.run("sessionStorage.getItem('unnoise-token')") == "a word"


def test_who_forgets_a_picture_sees_the_next(form):
    before = made(form)
    next_one = form.run("document.querySelector('#gallery img').dataset.url")
    press(form, "#make")
    form.until(pictures(before + 1))
    press(form, "#gallery button")
    assert form.run("document.getElementById('viewer-picture').dataset.url") != next_one
    form.run("document.getElementById('viewer-forget').focus()")
    form.press("Enter")
    form.press("Enter")
    form.until(pictures(before))
    assert form.run("document.getElementById('viewer-picture').dataset.url") == next_one
    assert form.run("document.activeElement.id") == "viewer-forget"


def test_settings_of_a_picture_bring_back_its_variation_and_its_noise_level(form):
    """Of the second of two, whose other seed is the next; to the last digit."""
    begin_from_a_picture(form)
    seed = 2**53 + 1
    given = {"noise-level": "2.5", "variation-seed": str(seed), "variation-share": "0.25", "count": "2"}
    for field, value in given.items():
        choose(form, field, value)
    before = made(form)
    press(form, "#make")
    form.until(pictures(before + 2))
    press(form, "#init-remove")
    press(form, "#defaults")
    assert form.run("document.getElementById('variation-seed').value") == ""
    press(form, "#gallery li:nth-child(2) button")
    told = form.run(
        "[...document.querySelectorAll('#recipe dt')].map(name => [name.textContent, name.nextSibling.textContent])"
    )
    assert dict(told)["near seed"] == f"{seed + 1}, by 0.25"
    assert dict(told)["noise level"] == "2.5"
    press(form, "#viewer-use")
    brought = form.run(f"{list(given)}.map(field => document.getElementById(field).value)")
    assert brought == ["2.5", str(seed + 1), "0.25", "1"]
    assert form.run("document.getElementById('strength').disabled")


def test_what_another_page_removed_is_no_longer_shown_the_oldest_too(page):
    """Nor is it on the stage, whose page meets no error for that."""
    watch(page)
    oldest = page.run("""(async ({ dataset: { name } }) => {
      await fetch(`/api/jobs/${name.split("-")[0]}`, { method: "DELETE" });
      return name;
    })(document.querySelector("#gallery li:last-child"))""")
    press(page, "#make")
    page.until(f"document.querySelector('[data-name=\"{oldest}\"]') === null")
    page.until(pictures(1))


def test_a_picture_that_was_wanted_is_no_longer_refused_once_it_is_there(form):
    choose(form, "model", "editor")
    press(form, "#make")
    form.until("document.querySelector('#error') !== null")
    assert form.run(
        "document.querySelector('#error').parentElement.contains(document.getElementById('choose'))"
    )
    begin_from_a_picture(form)
    assert form.run("document.querySelector('#error') === null")


def test_settings_whose_picture_is_added_later_keep_their_strength(form):
    form.run("import('/page/form.js').then(({ fill }) => fill({ prompt: 'a two', strength: 0.4 }))")
    begin_from_a_picture(form)
    assert form.run(text("strength-told")) == "0.40"
    press(form, "#init-remove")
    press(form, "#defaults")
    begin_from_a_picture(form)
    assert form.run(text("strength-told")) == "0.75"


def test_everything_that_takes_the_focus_is_named_to_a_screen_reader(form):
    """By the browser's own tree for such readers, with every part opened and an error at a field."""
    form.run("for (const part of document.querySelectorAll('details')) part.open = true")
    choose(form, "steps", "0")
    press(form, "#make")
    form.until("document.querySelector('#error') !== null")
    nodes = form.send("Accessibility.getFullAXTree")["nodes"]
    named, told = {}, {}
    for node in nodes:
        properties = {one["name"]: one["value"] for one in node.get("properties", ())}
        name = node.get("name", {}).get("value", "").strip()
        if not node["ignored"] and properties.get("focusable", {}).get("value"):
            named[node["nodeId"]] = name or node
            told[name] = properties
    assert len(named) > 40
    assert [node for node in named.values() if not isinstance(node, str)] == []
    assert told["Steps"]["invalid"]["value"] == "true"
    assert form.run("document.getElementById('steps').getAttribute('aria-errormessage')") == "error"


FOCUS = """(element => {
  const box = element.getBoundingClientRect();
  const seen = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
  return [element.tagName, seen !== null && (element.contains(seen) || element === seen)];
})(document.activeElement)"""


def test_a_prompt_of_any_length_pushes_nothing_aside(form):
    """10,000 letters without a space, on a telephone: nothing is wider than the window, buttons stay near."""
    form.resize(360, 740)
    write(form, "prompt", "W" * 10_000)
    press(form, "#make")
    form.until("document.querySelector('#gallery img')?.alt.startsWith('WWW')")
    form.until(f"{text('hero-told')}.includes('seed')")
    wide = "[document.documentElement, viewer, hero].map(part => part.scrollWidth - part.clientWidth)"
    find = "const [viewer, hero] = ['viewer', 'hero'].map(id => document.getElementById(id));"
    press(form, "#gallery button")
    assert form.run(f"(() => {{ {find} return {wide}; }})()") == [0, 0, 0]
    far = form.run(
        """['hero-told', 'recipe'].map(id => document.getElementById(id).getBoundingClientRect().height)"""
    )
    assert max(far) < 740


@pytest.mark.parametrize("size", [(1280, 900), (390, 844)])
def test_the_tab_key_comes_to_everything_and_nothing_hides_what_has_the_focus(page, size):
    """WCAG 2.2, 2.4.11; neither the button that stays below a narrow form nor an explanation lies above."""
    page.resize(*size)
    for part in ("from", "more"):
        page.run(f"document.getElementById('{part}').open = true")
    watch(page)
    page.run("document.querySelector('.skip').focus()")
    hidden, came = [], Counter()
    while True:
        page.press("Tab")
        tag, seen = page.run(FOCUS)
        if tag == "BODY":
            break
        came[tag] += 1
        if not seen:
            hidden.append(page.run("document.activeElement.outerHTML"))
    assert hidden == []
    assert min(came[tag] for tag in ("SELECT", "TEXTAREA", "INPUT", "BUTTON", "SUMMARY")) >= 1
    assert page.run("document.documentElement.scrollWidth") <= size[0]


def test_a_page_that_stays_open_meets_the_models_of_a_server_that_is_started_again(page, served, tmp_path):
    """What is typed stays; a model that is gone is said to be, and another chosen."""
    choose(page, "model", "editor")
    for field, value in (("prompt", "a rocket"), ("steps", "7"), ("width", "32"), ("grid", "Karras")):
        choose(page, field, value)
    served.end()
    with Served(tmp_path / "second", "-m", "emoji", "--port", served.url.rpartition(":")[2]):
        page.until(f"{text('model')} === 'digitsemoji' && {READY}")
        assert page.run(text("model-lacking")) == "“editor” is not served here; digits is chosen instead."
        fields = page.run("['prompt', 'steps', 'width', 'grid'].map(id => document.getElementById(id).value)")
        assert fields == ["a rocket", "7", "32", "Karras"]
        assert page.run("document.getElementById('steps').placeholder") == "20"
        page.run("document.getElementById('grid').value = ''")
        press(page, "#make")
        page.until(pictures(1, side=32))
