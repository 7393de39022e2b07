"""OpenAI's official client and webuiapi, A1111's, against `unnoise serve -m digits` as people start it."""

import base64
import concurrent.futures
import contextlib
import http.client
import io
import json
import sqlite3
import urllib.request
from functools import partial
from urllib.parse import urlsplit

import numpy as np
import openai
import pytest
import webuiapi
from PIL import Image

import unnoise
from served import Served
from unnoise import images
from unnoise.pipelines import ImageToImage, Inpaint

LONG = 1000  # steps of a run that is still under way when it is looked at


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with Served(tmp_path_factory.mktemp("clients") / "out") as server:
        yield server.ready()


@pytest.fixture(scope="module")
def client(served):
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def webui(served):
    return webuiapi.WebUIApi(port=urlsplit(served.url).port)


@pytest.fixture(scope="module")
def digits():
    return unnoise.load("digits")


def opened(text):
    return Image.open(io.BytesIO(base64.b64decode(text)))


def same(one, other):
    """Whether two pictures differ by a shade at most: a batch may be computed in another order on more threads."""
    return one.size == other.size and np.abs(np.asarray(one, int) - np.asarray(other, int)).max() <= 1


def latest(served):
    return served.ask("GET", "/api/jobs?limit=1")[2]["jobs"][0]["id"]


class TestOpenAI:
    def test_the_models_that_are_served_are_listed(self, client):
        assert [model.id for model in client.models.list()] == ["digits"]
        assert client.models.retrieve("digits").owned_by == "unnoise"
        with pytest.raises(openai.NotFoundError, match="dall-e-3"):
            client.models.retrieve("dall-e-3")

    def test_pictures_are_those_that_python_gives(self, client, digits):
        made = client.images.generate(
            prompt="a seven", model="digits", n=2, extra_body={"steps": 4, "seed": 7, "guidance_scale": 2.0}
        )
        alike = digits("a seven", steps=4, seed=7, count=2, guidance=2.0).images
        assert all(same(opened(one.b64_json), two) for one, two in zip(made.data, alike, strict=True))
        assert (made.size, made.output_format) == ("8x8", "png")
        assert made.model_extra["unnoise"]["seeds"] == [7, 8]

    def test_an_address_leads_to_the_same_file(self, client):
        asked = {"prompt": "a two", "extra_body": {"steps": 2, "seed": 3}}
        url = client.images.generate(response_format="url", **asked).data[0].url
        with urllib.request.urlopen(url, timeout=60) as answer:
            content = answer.read()
        whole = client.images.generate(response_format="b64_json", **asked).data[0].b64_json
        assert content.startswith(b"\x89PNG")
        assert content == base64.b64decode(whole)

    @pytest.mark.parametrize("kind", ["jpeg", "webp"])
    def test_another_format_may_be_asked_for(self, client, kind):
        made = client.images.generate(
            prompt="a two", output_format=kind, output_compression=80, size="16x16", extra_body={"steps": 2}
        )
        picture = opened(made.data[0].b64_json)
        assert (picture.format, picture.size) == (kind.upper(), (16, 16))
        assert made.output_format == kind

    def test_a_stream_shows_the_picture_as_it_comes(self, client, digits):
        events = client.images.generate(
            prompt="a four", stream=True, partial_images=2, extra_body={"steps": 12, "seed": 5}
        )
        *partial, last = list(events)
        # one is never left out to save time; the others may be
        assert 1 <= len(partial) <= 2
        assert {event.type for event in partial} == {"image_generation.partial_image"}
        assert [event.partial_image_index for event in partial] == list(range(len(partial)))
        assert last.type == "image_generation.completed"
        end = digits("a four", steps=12, seed=5).images[0]
        assert same(opened(last.b64_json), end)
        # what is seen on the way is the network's own guess of the picture at that step
        guesses = [step.preview() for step in digits.denoise("a four", steps=12, seed=5)]
        assert any(same(opened(partial[0].b64_json), guess) for guess in guesses[3:-1])

    def test_an_edit_paints_where_the_mask_is_transparent(self, client, digits):
        picture = digits("a one", steps=4, seed=1).images[0]
        mask = Image.new("RGBA", picture.size, "white")
        mask.paste((255, 255, 255, 0), (0, 0, 8, 4))
        files = [("a.png", images.png_bytes(one), "image/png") for one in (picture, mask)]
        made = client.images.edit(
            image=[files[0]], mask=files[1], prompt="a seven", n=1, extra_body={"steps": 4, "seed": 2}
        )
        light = Image.new("L", picture.size)
        light.paste(255, (0, 0, 8, 4))
        alike = Inpaint(digits.model)("a seven", picture, light, steps=4, seed=2).images[0]
        found = opened(made.data[0].b64_json)
        assert same(found, alike)
        assert same(found.crop((0, 4, 8, 8)), picture.crop((0, 4, 8, 8)))
        large = client.images.edit(
            image=files[0], mask=files[1], size="16x24", prompt="a seven", extra_body={"steps": 4}
        )
        assert (large.size, opened(large.data[0].b64_json).size) == ("16x24", (16, 24))
        whole = client.images.edit(image=files[0], prompt="a seven", extra_body={"steps": 4, "strength": 0.5})
        assert not same(opened(whole.data[0].b64_json), picture)

    def test_a_mask_without_transparent_places_is_refused(self, client):
        one = images.png_bytes(Image.new("L", (8, 8), 90))
        with pytest.raises(openai.BadRequestError, match="transparent nowhere") as refused:
            client.images.edit(image=one, mask=one, prompt="a one")
        assert refused.value.param == "mask"

    def test_an_edit_is_streamed_too(self, client):
        file = ("a.png", images.png_bytes(Image.new("L", (8, 8), 90)), "image/png")
        events = client.images.edit(image=file, prompt="a one", stream=True, extra_body={"steps": 4})
        assert [event.type for event in events] == ["image_edit.completed"]

    @pytest.mark.parametrize(
        ("given", "kind", "param", "code"),
        [
            ({"n": 0}, openai.BadRequestError, "n", None),
            ({"size": "3x"}, openai.BadRequestError, "size", None),
            ({"model": "dall-e-3"}, openai.NotFoundError, "model", "model_not_found"),
            ({"model": 3}, openai.BadRequestError, "model", None),
            ({"extra_body": {"scheduler": "Eular"}}, openai.BadRequestError, "scheduler", None),
            ({"extra_body": {"stesp": 3}}, openai.BadRequestError, "stesp", None),
        ],
    )
    def test_a_refusal_names_the_field(self, client, given, kind, param, code):
        with pytest.raises(kind) as refused:
            client.images.generate(**{"prompt": "a two", **given})
        assert (refused.value.param, refused.value.code) == (param, code)
        assert refused.value.type == "invalid_request_error"

    def test_what_fails_while_it_is_made_is_told_and_not_asked_again(self, client, served):
        begun = len(served.ask("GET", "/api/jobs?limit=200")[2]["jobs"])
        one = images.png_bytes(Image.new("L", (8, 8), 90))
        other = Image.new("RGBA", (16, 16))
        patient = client.with_options(max_retries=2)
        with pytest.raises(openai.BadRequestError, match="mask is 16x16"):
            patient.images.edit(image=one, mask=images.png_bytes(other), prompt="a one")
        assert len(served.ask("GET", "/api/jobs?limit=200")[2]["jobs"]) == begun + 1

    def test_a_client_that_leaves_a_stream_ends_its_job(self, client, served):
        events = client.images.generate(
            prompt="a two", stream=True, partial_images=8, extra_body={"steps": LONG // 3}
        )
        assert next(iter(events)).type == "image_generation.partial_image"
        id = latest(served)
        events.close()
        assert served.ended(id)["state"] == "cancelled"

    def test_a_client_that_hangs_up_ends_its_job(self, served):
        connection = served.connect()
        body = json.dumps({"prompt": "a two", "steps": LONG})
        connection.request("POST", "/v1/images/generations", body, {"Content-Type": "application/json"})
        id = served.until(
            lambda: (
                (job := served.ask("GET", "/api/jobs?limit=1")[2]["jobs"][0])["state"] == "running" and job
            )
        )["id"]
        connection.close()
        assert served.ended(id)["state"] == "cancelled"


class TestA1111:
    def test_pictures_are_those_that_python_gives(self, webui, digits):
        made = webui.txt2img(prompt="a seven", seed=7, steps=5, n_iter=2, width=8, height=8, cfg_scale=2)
        alike = digits("a seven", scheduler="Euler a", steps=5, seed=7, count=2, guidance=2.0)
        assert all(same(one, two) for one, two in zip(made.images, alike.images, strict=True))
        assert made.info["all_seeds"] == [7, 8]
        assert (made.info["sampler_name"], made.info["steps"], made.info["notes"]) == ("Euler a", 5, [])
        assert made.info["infotexts"] == [one.info["parameters"] for one in made.images]
        assert made.info["infotexts"][1] == alike.recipes[1].to_parameters()
        assert made.parameters["prompt"] == "a seven"

    def test_a_mask_is_painted(self, webui, digits):
        picture = digits("a one", steps=4, seed=1).images[0]
        light = Image.new("L", picture.size)
        light.paste(255, (0, 0, 8, 4))
        asked = {"seed": 2, "steps": 5, "width": 8, "height": 8, "inpaint_full_res": False}
        made = webui.img2img(
            [picture],
            mask_image=light,
            mask_blur=0,
            prompt="a seven",
            denoising_strength=0.9,
            inpainting_fill=1,
            **asked,
        ).image
        assert same(made.crop((0, 4, 8, 8)), picture.crop((0, 4, 8, 8)))
        assert not same(made, picture)
        flipped = webui.img2img(
            [picture], mask_image=light, mask_blur=0, inpainting_mask_invert=1, prompt="a seven", **asked
        ).image
        assert same(flipped.crop((0, 0, 8, 4)), picture.crop((0, 0, 8, 4)))

    def test_a_variation_lies_between_two_seeds(self, webui, digits):
        asked = {"prompt": "a seven", "seed": 7, "steps": 5}
        made = webui.txt2img(
            **asked, cfg_scale=2, width=8, height=8, n_iter=2, subseed=30, subseed_strength=0.4
        )
        alike = digits(**asked, guidance=2.0, scheduler="Euler a", count=2, variation=(30, 0.4)).images
        assert all(same(one, two) for one, two in zip(made.images, alike, strict=True))
        told = made.info
        assert (told["all_seeds"], told["all_subseeds"], told["subseed_strength"]) == ([7, 7], [30, 31], 0.4)
        sent = webui.session.post(f"{webui.baseurl}/txt2img", json={"infotext": told["infotexts"][1]}).json()
        assert same(opened(sent["images"][0]), alike[1])
        assert json.loads(sent["info"])["notes"] == []

    def test_several_pictures_are_begun_from_one_each(self, webui, digits):
        inits = [digits(f"a {word}", steps=4, seed=1).images[0] for word in ("one", "six")]
        asked = {"prompt": "a seven", "steps": 5, "seed": 7, "width": 8, "height": 8}
        made = webui.img2img(inits, denoising_strength=0.6, cfg_scale=2, batch_size=2, n_iter=2, **asked)
        begin = partial(ImageToImage(digits.model), strength=0.6, guidance=2.0, scheduler="Euler a")
        alike = [
            begin(picture=inits[place % 2], **asked | {"seed": 7 + place}).images[0] for place in range(4)
        ]
        assert all(same(one, two) for one, two in zip(made.images, alike, strict=True))
        assert (made.info["all_seeds"], made.info["batch_size"]) == ([7, 8, 9, 10], 2)
        assert [one.info["parameters"] for one in made.images] == made.info["infotexts"]
        assert not made.info["interrupted"]

    def test_of_several_pictures_those_are_given_that_were_made_before_an_interrupt(self, served, webui):
        inits = [Image.new("L", (8, 8), shade) for shade in (0, 90, 180)]
        asked = {"prompt": "a two", "steps": LONG, "denoising_strength": 0.9, "width": 8, "height": 8}
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(webui.img2img, inits, batch_size=3, **asked)
            served.until(lambda: webui.get_progress()["state"]["job_no"] == 1)
            webui.interrupt()
            made = waiting.result(60)
        assert made.info["interrupted"]
        assert len(made.images) in (1, 2)  # the second may just have ended
        webui.util_wait_for_ready(0.01)

    def test_a_client_that_hangs_up_ends_the_job_of_now_and_begins_no_other(self, served, webui):
        sent = [webuiapi.webuiapi.b64_img(Image.new("L", (8, 8), shade)) for shade in (0, 90, 180)]
        asked = {"init_images": sent, "batch_size": 3, "prompt": "a two", "steps": LONG}
        connection = served.connect()
        told = {"Content-Type": "application/json"}
        connection.request("POST", "/sdapi/v1/img2img", json.dumps(asked), told)
        served.until(lambda: webui.get_progress()["state"]["job_no"] == 1)
        id = latest(served)
        connection.close()
        assert served.ended(id)["state"] == "cancelled"
        served.until(lambda: webui.get_progress()["state"]["job_count"] == 0)
        assert latest(served) == id

    def test_a_side_alone_is_made_and_the_other_stays(self, webui, digits):
        picture = digits("a one", steps=4, seed=1).images[0]
        asked = {"init_images": [webuiapi.webuiapi.b64_img(picture)], "prompt": "a seven", "steps": 2}
        for more in ({}, {"mask": webuiapi.webuiapi.b64_img(Image.new("L", (8, 8), "white")),
                          "inpaint_full_res": False}):  # fmt: skip
            answer = webui.session.post(f"{webui.baseurl}/img2img", json={**asked, "width": 12, **more})
            assert opened(answer.json()["images"][0]).size == (12, 8)

    def test_a_second_pass_enlarges(self, webui):
        made = webui.txt2img(prompt="a two", steps=4, width=8, height=8, enable_hr=True, hr_scale=2)
        assert (made.image.size, made.info["width"]) == ((16, 16), 16)

    def test_a_client_sees_and_ends_its_own_job_and_no_others(self, served, webui):
        def ask(method, path, fields=None, source="127.0.0.1"):
            place = urlsplit(served.url)
            connection = http.client.HTTPConnection(
                place.hostname, place.port, timeout=120, source_address=(source, 0)
            )
            told = {} if fields is None else {"Content-Type": "application/json"}
            connection.request(method, path, None if fields is None else json.dumps(fields), told)
            answer = connection.getresponse()
            found = answer.status, json.loads(answer.read())
            connection.close()
            return found

        asked = {"prompt": "a two", "steps": LONG, "force_task_id": "task(mine)"}
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(ask, "POST", "/sdapi/v1/txt2img", asked)

            def of_task(id):
                return ask("POST", "/internal/progress", {"id_task": id, "id_live_preview": -1})[1]

            mine = served.until(lambda: (told := of_task("task(mine)"))["live_preview"] and told)
            assert (mine["active"], mine["queued"], mine["completed"]) == (True, False, False)
            assert 0 < mine["progress"] < 1
            assert mine["eta"] > 0
            assert opened(mine["live_preview"].partition(",")[2]).size == (8, 8)
            again = {"id_task": "task(mine)", "id_live_preview": mine["id_live_preview"]}
            told = ask("POST", "/internal/progress", again)[1]
            assert told["live_preview"] is None or told["id_live_preview"] > mine["id_live_preview"]
            other = of_task("task(another)")
            assert (other["active"], other["queued"], other["completed"]) == (False, False, False)
            own = webui.get_progress()
            assert 0 < own["progress"] < 1
            assert own["state"]["sampling_steps"] == LONG
            assert opened(own["current_image"]).size == (8, 8)
            assert ask("GET", "/sdapi/v1/progress?skip_current_image=true")[1]["current_image"] is None
            # another machine sees nothing of it, and ends nothing
            status, idle = ask("GET", "/sdapi/v1/progress", source="127.0.0.2")
            assert (status, idle["progress"], idle["state"]["job_count"]) == (200, 0, 0)
            assert idle["current_image"] is None
            assert ask("POST", "/sdapi/v1/interrupt", source="127.0.0.2") == (200, {})
            assert of_task("task(mine)")["active"]
            assert webui.interrupt() == {}
            status, ended = waiting.result(60)
        assert (status, ended["images"], json.loads(ended["info"])["interrupted"]) == (200, [], True)
        assert of_task("task(mine)")["completed"]
        webui.util_wait_for_ready(0.01)

    def test_what_there_is_is_listed(self, webui):
        assert "Euler a" in webui.util_get_sampler_names()
        assert "karras" in webui.util_get_scheduler_names()
        assert webui.util_get_model_names() == [webui.util_get_current_model()]
        assert webui.get_sd_models()[0]["model_name"] == "digits"
        assert [one["name"] for one in webui.get_upscalers()] == ["None", "Lanczos"]
        assert webui.get_latent_upscale_modes() == [{"name": "Latent"}]
        assert webui.get_loras() == webui.get_sd_vae() == webui.get_prompt_styles() == []
        assert webui.get_scripts() == {"txt2img": [], "img2img": []}
        assert webui.get_memory()["ram"]["total"] > 0
        assert webui.get_cmd_flags()["api"] is True
        assert webui.refresh_checkpoints() is None

    def test_the_model_alone_is_an_option(self, webui):
        webui.util_set_model("digits")
        assert webui.util_get_current_model().startswith("digits")
        # many clients send all options back, with another model among them
        assert webui.set_options({**webui.get_options(), "sd_model_checkpoint": "digits"}) is None
        assert (
            webui.set_options({**webui.get_options(), "sd_checkpoint_hash": ""}) is None
        )  # not known yet then
        for refused in ({"sd_model_checkpoint": "sdxl"}, {"samples_save": False}):
            assert "detail" in webui.set_options(refused)

    def test_a_picture_tells_how_it_was_made(self, webui):
        made = webui.txt2img(prompt="a six", seed=4, steps=3, width=8, height=8)
        told = webui.png_info(made.image)
        assert told.info == made.info["infotexts"][0]
        assert (told.parameters["Prompt"], told.parameters["Seed"]) == ("a six", "4")

    @pytest.mark.parametrize(
        ("given", "status", "said"),
        [
            ({"script_name": "X/Y/Z plot"}, 422, "X/Y/Z plot"),
            ({"sampler_name": "Eular"}, 404, "'Eular' is not known"),
            ({"steps": 0}, 422, "steps is 0"),
            ({"override_settings": {"sd_model_checkpoint": "none"}}, 404, "this server has digits"),
        ],
    )
    def test_a_refusal_says_why(self, webui, given, status, said):
        with pytest.raises(RuntimeError) as refused:
            webui.txt2img(**{"prompt": "a two", "width": 8, "height": 8, **given})
        assert refused.value.args[0] == status
        assert said in json.loads(refused.value.args[1])["detail"]


def test_who_waits_is_told_when_the_server_ends_and_leaves_no_job_behind(client, served):
    """Last in this file: it ends the server that the others share."""
    ids = []

    def ask(steps):
        return client.images.generate(prompt="a two", size="8x8", extra_body={"steps": steps})

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        running = pool.submit(ask, 200)
        ids.append(
            served.until(lambda: (id := latest(served)) and served.job(id)["state"] == "running" and id)
        )
        waiting = pool.submit(ask, 2)
        ids.append(served.until(lambda: (id := latest(served)) not in ids and id))
        assert served.end() == 0
        assert running.result(60).size == "8x8"
        with pytest.raises(openai.InternalServerError, match="about to end") as refused:
            waiting.result(60)
    assert refused.value.code == "closing"
    with contextlib.closing(sqlite3.connect(served.folder / "jobs.sqlite")) as store:
        states = dict(store.execute("select id, state from jobs"))
    assert [states[id] for id in ids] == ["done", "cancelled"]
