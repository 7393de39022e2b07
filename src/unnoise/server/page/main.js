/** The page: its parts, and who tells whom. */

import { Refused, eventually } from "./api.js";
import { receivePictures } from "./arrivals.js";
import { keepDraft, takeUp } from "./draft.js";
import { $, enter, many, tell } from "./elements.js";
import { ENDED } from "./events.js";
import { Unreadable, accept, fill, read, refuse } from "./form.js";
import { Gallery } from "./gallery.js";
import { drawGrain } from "./grain.js";
import { init } from "./init.js";
import { Jobs } from "./jobs.js";
import { card, listModels, suit, suitAlways } from "./models.js";
import { setUpPainter } from "./painter.js";
import { Queue } from "./queue.js";
import { listSchedulers } from "./schedulers.js";
import { Stage } from "./stage.js";
import { Viewer } from "./viewer.js";
import { weighByKeys } from "./weights.js";
import { explainWords } from "./words.js";

const SHOW = ["x0", "sample", "noise"];
const LOOKS = 60; // about so many of a long run, which are as many as one wants to walk through
const jobs = new Jobs();
const viewer = new Viewer(jobs, { use, start, watch });
const stage = new Stage(jobs, (job, made) => viewer.open(job, made));
const gallery = new Gallery(jobs, (job, made) => viewer.open(job, made));
viewer.gallery = gallery;
const queue = new Queue(jobs, stage, watch);

/** Take settings over into the form; a picture that they began from is there if this page sent it. */
function use(fields, job = null) {
  const from = job && jobs.kept.from(job.id);
  const variant = job?.images[0]?.recipe.variant ?? "";
  fill(fields);
  suit();
  if (from) {
    const { mask, ...picture } = from;
    init.set(picture, mask);
    enter($("strength"), fields.strength ?? $("strength").value);
  } else if (!["", "second pass"].includes(variant)) tell("What this picture was begun from is not kept; add it again.");
  $("prompt").focus();
}

function start(data, { width, height }) {
  init.choose({ data, width, height });
  $("from").firstElementChild.focus({ preventScroll: true });
}

/** One that has ended is looked at from its first step on, as far as its steps are still to be had. */
async function watch(id) {
  const job = jobs.get(id);
  stage.watch(id);
  queue.draw();
  $("stage").scrollIntoView({ block: "start" });
  $("stage").focus({ preventScroll: true });
  if (!ENDED.has(job.state) || !job.step || !(await jobs.recall(id)) || stage.watched !== id) return;
  const [first] = jobs.kept.of(job);
  if (first) stage.watch(id, first.index);
  else tell("The steps of this picture are no longer kept; make it again to see them.");
}

async function submit() {
  if ($("make").disabled) return;
  accept();
  $("make").disabled = true;
  try {
    const fields = read(card());
    const looks = { show: SHOW, show_every: Math.round((fields.steps ?? card().steps) / LOOKS) || 1 };
    const from = init.picture && { ...init.picture, mask: init.mask };
    const job = await jobs.submit({ ...fields, ...init.fields(), ...looks }, from);
    if (!jobs.waiting.some(({ id }) => id === stage.watched)) stage.watch(job.id);
    else if (job.place) tell(`In the queue, ${many(job.place, "job")} before it.`);
    queue.draw();
    if (matchMedia("(max-width: 899px)").matches) $("stage").scrollIntoView();
  } catch (error) {
    fail(error);
  } finally {
    $("make").disabled = false;
  }
}

function fail(error) {
  if (error instanceof Unreadable || error instanceof Refused) refuse(error.field, error.message);
  else refuse(null, "The server cannot be reached. Is it still running?");
}

function setUpForm() {
  $("asked").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  $("asked").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    submit();
  });
  const style = () => $("prompt-style").value;
  for (const name of ["prompt", "negative"]) weighByKeys($(name), style, tell);
  $("defaults").addEventListener("click", () => {
    const { prompt, negative, model } = read(card());
    fill({ prompt, negative, model });
    suit();
  });
  for (const react of [tellStrength, accept]) init.addEventListener("change", react);
  $("asked").addEventListener("input", tellStrength);
}

function tellStrength() {
  $("strength-told").textContent = Number($("strength").value).toFixed(2);
}

function setUpSeed() {
  $("seed-random").addEventListener("click", () => enter($("seed"), ""));
  $("seed-keep").addEventListener("click", () => enter($("seed"), gallery.pictures[0].made.seed));
  jobs.addEventListener("change", () => ($("seed-keep").disabled = !gallery.pictures.length));
}

/** One line at the top: whether the server is there. */
function tellServer(state, words) {
  $("server").dataset.state = state;
  if ($("server").textContent !== words) $("server").textContent = words;
}

/** A server that refuses for now is there, one that throws anything else is not. */
function tellWaiting(error) {
  if (error instanceof Refused) tellServer("loading", "the model is being loaded …");
  else tellServer("lost", "the server does not answer, trying again");
}

async function begin() {
  drawGrain();
  explainWords();
  setUpForm();
  setUpSeed();
  setUpPainter();
  receivePictures(use);
  jobs.addEventListener("lost", tellWaiting);
  $("make").disabled = true;
  await takeUp(eventually(list, tellWaiting));
  suitAlways();
  suit();
  keepDraft();
  $("make").disabled = false;
  tellServer("ready", "ready");
  jobs.addEventListener("reached", meet);
  jobs.keepUp();
}

async function list() {
  await listModels();
  await listSchedulers();
}

/** A server that answers may have been started again, perhaps with other models. */
async function meet() {
  const before = $("server").dataset.state;
  try {
    if ((await listModels()) || before !== "ready") await listSchedulers();
    if (before === "lost") accept(); // it may stand there that it cannot be reached
    tellServer("ready", "ready");
  } catch (error) {
    tellWaiting(error);
  }
}

begin();
