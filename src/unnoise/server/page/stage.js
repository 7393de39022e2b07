/** The stage: the picture in the making, large, beside the loop that makes it; afterwards a walk through its steps. */

import { stepAt } from "./chart.js";
import { $, listNotes, make, many, time } from "./elements.js";
import { ENDED } from "./events.js";
import { titleOf } from "./jobs.js";
import { looks, nearest, secondsLeft, shownAt } from "./kept.js";
import { choosePanels, drawLoop } from "./loop.js";
import { cardOf } from "./models.js";
import { isSmall, show } from "./pictures.js";

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const pace = () => (calm.matches ? 700 : 140); // ms a step while walking
const frame = () => (calm.matches ? 700 : 30); // ms from one picture to the next
const QUIET = 6000; // ms from one word on the progress to the next

export class Stage {
  #jobs;
  #open;
  #id = null;
  #at = null; // the step that is looked at; null: the latest, or the result
  #large = "x0";
  #walking = 0;
  #due = 0;
  #said = 0; // when a word on the progress was said

  /** open(job, made): what a click on a finished picture does. */
  constructor(jobs, open) {
    [this.#jobs, this.#open] = [jobs, open];
    jobs.addEventListener("change", () => this.#turn());
    jobs.addEventListener("seen", ({ detail }) => this.#step(detail.job));
    choosePanels((of) => this.#enlarge(of));
    for (const choice of [$("chart-sigma"), $("chart-snr")]) choice.addEventListener("change", () => this.draw());
    $("step").addEventListener("input", () => this.#look(looks(this.#steps)[Number($("step").value) - 1].index));
    $("now").addEventListener("click", () => this.#look(null));
    $("play").addEventListener("click", () => this.#walk());
    $("cancel").addEventListener("click", () => this.#jobs.end(this.#id));
    addEventListener("resize", () => this.draw());
    $("chart").addEventListener("pointerdown", (event) => {
      $("chart").setPointerCapture(event.pointerId);
      this.#point(event);
    });
    $("chart").addEventListener("pointermove", (event) => {
      if ($("chart").hasPointerCapture(event.pointerId)) this.#point(event);
    });
  }

  /** Put a job on the stage; at: the step to look at. */
  watch(id, at = null) {
    this.#stop();
    [this.#id, this.#at, this.#said] = [id, at, Date.now()];
    this.draw();
  }

  get #steps() {
    return this.#jobs.kept.of(this.#jobs.get(this.#id));
  }

  get watched() {
    return this.#id;
  }

  draw() {
    const job = this.#jobs.get(this.#id);
    if (!job) return this.#clear();
    const steps = this.#steps;
    this.#drawHero(job, steps);
    this.#drawHead(job, steps);
    $("seen").hidden = !steps.length;
    $("idle").hidden = Boolean(steps.length);
    if (steps.length) drawLoop(steps, this.#at ?? Infinity, this.#small(job));
    $("now").textContent = NOW[job.state] ?? "live";
    $("now").setAttribute("aria-pressed", String(this.#at === null));
  }

  /** A job of this browser that begins to work comes on the stage, unless another is at work there. */
  #turn() {
    const now = this.#jobs.get(this.#id);
    const next = this.#jobs.waiting.find((job) => job.state === "running" && this.#jobs.owns(job.id));
    if (next && next.id !== this.#id && (!now || ENDED.has(now.state))) this.watch(next.id);
    else this.draw();
  }

  /** Small models make hundreds of steps a second, more than one can see. */
  #step(job) {
    if (job.id !== this.#id || this.#due) return;
    this.#due = setTimeout(() => {
      this.#due = 0;
      this.draw();
    }, frame());
  }

  #look(at) {
    this.#stop();
    this.#at = at;
    this.draw();
  }

  #enlarge(of) {
    this.#large = of;
    const ended = ENDED.has(this.#jobs.get(this.#id)?.state);
    if (this.#at === null && ended) this.#at = shownAt(this.#steps, Infinity)?.index ?? null;
    this.draw();
  }

  #point({ offsetX, currentTarget }) {
    const aimed = stepAt(offsetX, currentTarget.clientWidth, this.#steps[0].steps);
    this.#look(nearest(this.#steps, aimed));
  }

  /** From the first step, or on from the one that is looked at, to the end. */
  #walk() {
    if (this.#walking) return this.#stop();
    const way = looks(this.#steps).map(({ index }) => index);
    let place = this.#at === null || this.#at >= way.at(-1) ? 0 : way.indexOf(this.#at);
    $("play").setAttribute("aria-pressed", "true");
    const step = () => {
      this.#at = way[place] ?? null;
      if (this.#at === null) this.#stop();
      place += 1;
      this.draw();
    };
    this.#walking = setInterval(step, pace());
    step();
  }

  #stop() {
    clearInterval(this.#walking);
    this.#walking = 0;
    $("play").setAttribute("aria-pressed", "false");
  }

  #small(job) {
    const { width, height } = cardOf(job);
    return isSmall({ width: job.asked.width ?? width, height: job.asked.height ?? height });
  }

  #clear() {
    if (this.#id === null) return;
    this.#id = null;
    $("pictures").replaceChildren();
    $("pictures").dataset.shows = "";
    $("hero").classList.remove("filled");
    $("hero-told").textContent = "Noise. Say what is hidden in it.";
    $("hero-told").classList.remove("bad");
    listNotes($("hero-notes"), []);
    [$("where").textContent, $("left").textContent, $("cancel").hidden] = ["The loop", "", true];
    [$("seen").hidden, $("idle").hidden] = [true, false];
    document.title = "unnoise";
  }

  #drawHero(job, steps) {
    const done = this.#at === null && job.state === "done";
    const shown = done ? null : shownAt(steps, this.#at ?? Infinity);
    if (done) this.#drawResult(job);
    else this.#drawPreview(shown?.previews ?? {}, job);
    $("hero").classList.toggle("filled", done || Boolean(shown));
    const told = done ? result(job) : waiting(job, steps);
    if ($("hero-told").textContent !== told) $("hero-told").textContent = told; // it is read out at each change
    $("hero-told").classList.toggle("bad", Boolean(job.error));
    listNotes($("hero-notes"), job.notes);
  }

  #drawResult(job) {
    const names = job.images.map(({ name }) => name).join(" ");
    if ($("pictures").dataset.shows === names) return;
    $("pictures").dataset.shows = names;
    const across = Math.ceil(Math.sqrt(job.images.length));
    $("pictures").style.setProperty("--across", across);
    $("pictures").replaceChildren(...job.images.map((made) => this.#opening(job, made)));
  }

  #opening(job, made) {
    const image = make("img", { alt: titleOf(job) });
    show(image, made);
    const label = `Open picture with seed ${made.seed}`;
    return make("button", { type: "button", aria: { label }, onclick: () => this.#open(job, made) }, image);
  }

  /** One image element, kept from step to step, does not flicker. */
  #drawPreview(previews, job) {
    const box = $("pictures");
    if (box.dataset.shows !== "preview") {
      box.dataset.shows = "preview";
      box.style.setProperty("--across", 1);
      box.replaceChildren(make("img"));
    }
    const image = box.firstElementChild;
    const of = previews[this.#large] ? this.#large : Object.keys(previews)[0]; // a program asks for what it likes
    image.hidden = !of;
    image.classList.toggle("pixels", this.#small(job));
    if (of) Object.assign(image, { src: previews[of], alt: document.querySelector(`[data-of="${of}"] img`).alt });
  }

  #drawHead(job, steps) {
    const last = steps.at(-1);
    const index = last && (this.#at ?? last.index);
    $("where").textContent = index ? `Step ${index} of ${last.steps}` : HEADS[job.state];
    this.#offerCancel(!ENDED.has(job.state) && this.#jobs.owns(job.id));
    const left = job.state === "running" ? secondsLeft(steps) : null;
    $("left").textContent = left === null ? "" : `${time(left)} left`;
    if (left === null) $("progress").textContent = "";
    else this.#say(`Step ${last.index} of ${last.steps}, ${time(left)} left`);
    document.title = job.state === "running" && last ? `${last.index}/${last.steps} · unnoise` : "unnoise";
  }

  #offerCancel(offered) {
    if (!offered && document.activeElement === $("cancel")) $("stage").focus({ preventScroll: true });
    $("cancel").hidden = !offered;
  }

  /** To screen readers, which would never come to an end if they were told each step. */
  #say(words) {
    if (Date.now() - this.#said < QUIET) return;
    this.#said = Date.now();
    $("progress").textContent = words;
  }
}

const HEADS = {
  queued: "In the queue",
  running: "Getting ready",
  done: "The loop",
  failed: "It failed",
  cancelled: "Cancelled",
};

const NOW = { done: "result", failed: "last", cancelled: "last" };

function result(job) {
  const seconds = job.ended && job.begun ? ` · ${time(job.ended - job.begun)}` : "";
  const [first, last] = [job.images[0].seed, job.images.at(-1).seed];
  return `${titleOf(job)} · ${first === last ? "seed" : `seeds ${first} to`} ${last}${seconds}`;
}

function waiting(job, steps) {
  if (job.error) return job.error.message;
  if (job.state === "queued") return job.place ? `${many(job.place, "picture")} before this one` : "Next in the queue";
  if (job.state === "running" && !steps.length) return "The model is being made ready";
  if (job.state === "cancelled") return `Cancelled · ${titleOf(job)}`;
  return titleOf(job);
}
