/** One picture, large, with its recipe and what can be done with it. */

import { $, listNotes, make, many, tell, time } from "./elements.js";
import { asData } from "./init.js";
import { titleOf } from "./jobs.js";
import { blobOf, download, show } from "./pictures.js";

const SURE = 4000; // ms in which the second click must come that forgets a picture

export class Viewer {
  gallery; // whose pictures are turned to
  #jobs;
  #now = null;

  /** use(fields, from): take settings over; start(data, made): begin from this picture; watch(id): walk its steps. */
  constructor(jobs, { use, start, watch }) {
    this.#jobs = jobs;
    // Closed first, since closing gives the focus back to what opened it.
    const close = (act) => async () => {
      $("viewer").close();
      try {
        await act(this.#now);
      } catch (error) {
        tell(`That did not work: ${error.message}`);
      }
    };
    $("viewer-close").addEventListener("click", () => $("viewer").close());
    $("viewer-use").addEventListener("click", close(({ job, made }) => use(settings(job, made), job)));
    const begin = async ({ made }) => start(await asData(await blobOf(made.url)), made);
    $("viewer-start").addEventListener("click", close(begin));
    $("viewer-watch").addEventListener("click", close(({ job }) => watch(job.id)));
    $("viewer-download").addEventListener("click", () => this.#download());
    $("viewer-forget").addEventListener("click", () => this.#forget());
    $("viewer-newer").addEventListener("click", () => this.#turn(-1));
    $("viewer-older").addEventListener("click", () => this.#turn(1));
    $("viewer").addEventListener("keydown", ({ key }) => {
      const turn = { ArrowLeft: -1, ArrowRight: 1 }[key];
      if (turn) this.#turn(turn);
    });
    $("viewer").addEventListener("click", ({ target }) => target === $("viewer") && $("viewer").close());
  }

  open(job, made) {
    this.#now = { job, made };
    const image = $("viewer-picture");
    image.alt = titleOf(job);
    show(image, made);
    $("recipe").replaceChildren(...facts(job, made).flatMap(line));
    listNotes($("viewer-notes"), job.notes);
    this.#unsure();
    this.#limit();
    if (!$("viewer").open) $("viewer").showModal();
  }

  get #place() {
    return this.gallery.pictures.findIndex(({ made }) => made.name === this.#now.made.name);
  }

  #turn(by) {
    const next = this.gallery.pictures[this.#place + by];
    if (next) this.open(next.job, next.made);
  }

  #limit() {
    $("viewer-newer").disabled = this.#place <= 0;
    $("viewer-older").disabled = this.#place >= this.gallery.pictures.length - 1;
    if (document.activeElement?.disabled) $("viewer-close").focus();
  }

  async #download() {
    const { job, made } = this.#now;
    await download(made, job.asked.prompt).catch((error) => tell(`It could not be fetched: ${error.message}`));
  }

  /** The first click asks, the second does it, and the next picture is shown. */
  async #forget() {
    const button = $("viewer-forget");
    const count = this.#now.job.images.length;
    if (!button.classList.contains("sure")) {
      button.classList.add("sure");
      button.textContent = count > 1 ? `Remove all ${count} for good?` : "Remove it for good?";
      setTimeout(() => this.#unsure(), SURE);
      return;
    }
    const { id } = this.#now.job;
    const place = this.gallery.pictures.findIndex(({ job }) => job.id === id);
    try {
      await this.#jobs.forget(id);
    } catch (error) {
      tell(`It could not be removed: ${error.message}`);
      return;
    }
    const next = this.gallery.pictures[place] ?? this.gallery.pictures.at(-1);
    if (next) this.open(next.job, next.made);
    else $("viewer").close();
  }

  #unsure() {
    $("viewer-forget").classList.remove("sure");
    $("viewer-forget").textContent = "Forget";
  }
}

/** What makes this one picture again: a picture of several is made alone by its own seeds. */
function settings({ asked }, { seed, recipe }) {
  const variation = recipe.variation ? [recipe.variation_seed, recipe.variation] : asked.variation;
  return { ...asked, variation, seed, count: 1 };
}

/** The recipe in words that people look for; zeros and empty texts say nothing. */
function facts({ begun, ended }, { recipe, seed, width, height }) {
  const when = new Date(ended * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  return [
    ["prompt", recipe.prompt],
    ["negative", recipe.negative],
    ["prompt style", recipe.prompt_style !== "a1111" && recipe.prompt_style],
    ["model", together(recipe.model, short(recipe.model_hash))],
    ["adapters", recipe.adapters],
    ["clip skip", recipe.clip_skip],
    ["scheduler", together(recipe.scheduler, recipe.compat && `as in ${recipe.compat}`)],
    ["steps", recipe.steps],
    ["guidance", together(recipe.guidance, recipe.guidance_rule)],
    ["seed", seed],
    ["near seed", recipe.variation && `${recipe.variation_seed}, by ${recipe.variation}`],
    ["first noise", recipe.own_noise ? "given" : recipe.noise],
    ["size", `${width} × ${height}`],
    ...begunFrom(recipe),
    ["cache", recipe.cache],
    ["merged tokens", recipe.merge],
    ["arithmetic", recipe.arithmetic],
    ["made at once", recipe.batch && many(recipe.batch, "picture")],
    ["made", begun && ended && `in ${time(ended - begun)}, ${when}`],
    ["by", recipe.version && `unnoise ${recipe.version}`],
  ].filter(([, value]) => value);
}

/** What only a picture has that was begun from another, or made in two passes. */
function begunFrom(recipe) {
  const twice = recipe.variant === "second pass";
  const second = `${recipe.hires_scale} times as large, in ${recipe.hires_in}, ${many(recipe.hires_steps, "step")}`;
  const padding = recipe.padding && `with ${recipe.padding} pixels around it`;
  return [
    ["begun from", !twice && recipe.variant && together(`a picture (${recipe.variant})`, short(recipe.init_hash))],
    ["second pass", twice && second],
    ["strength", recipe.strength],
    ["noise level", recipe.noise_level],
    ["picture’s guidance", recipe.image_guidance],
    ["mask", short(recipe.mask_hash)],
    ["feather", recipe.feather],
    ["masked area", recipe.area && together("alone", padding)],
    ["outpaint", recipe.outpaint],
    ["known places", recipe.unpasted && "the model’s too"],
  ];
}

const together = (...parts) => parts.filter(Boolean).join(" · ");

const short = (hash) => hash?.slice(0, 10);

const line = ([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))];
