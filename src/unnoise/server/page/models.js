/** The models that are served: their defaults stand in the empty fields, their kind decides which fields there are. */

import { json } from "./api.js";
import { $, enter, make, offer } from "./elements.js";
import { chooseModel } from "./form.js";
import { init } from "./init.js";

let cards = [];

export const card = () => cards.find(({ name }) => name === $("model").value) ?? cards[0];

/** The card of a job's model. */
export const cardOf = (job) => cards.find(({ name }) => name === job.asked.model) ?? cards[0];

/** Ask for the cards, and say whether they are others than before: a server that was started again may have others. */
export async function listModels() {
  const { models } = await json("/api/models");
  if (JSON.stringify(models) === JSON.stringify(cards)) return false;
  const chosen = $("model").value;
  cards = models;
  offer($("model"), cards.map(({ name }) => name));
  if (chosen) chooseModel(chosen);
  suit();
  return true;
}

/** Let the form follow what is chosen and typed; the cards are there. */
export function suitAlways() {
  $("model").addEventListener("change", () => {
    $("model-lacking").textContent = "";
    for (const side of ["width", "height"]) $(side).value = ""; // those of another model would rarely fit
    suit();
  });
  init.addEventListener("change", suit);
  $("hires-scale").addEventListener("input", suit);
  $("asked").addEventListener("input", () => {
    tellCount();
    tellSize();
    suitMask();
    suitStrength();
  });
}

/** Let the form suit the model that is chosen and what it begins from. */
export function suit() {
  const now = card();
  $("model-summary").textContent = now.summary;
  for (const name of ["steps", "guidance", "scheduler", "width", "height"]) $(name).placeholder = now[name];
  for (const name of ["width", "height"]) Object.assign($(name), { step: now.unit, min: now.unit });
  show(now.heeds_prompt, "prompt-field", "negative-field", "guidance-field");
  suitPicture(now);
  listExamples(now.prompts);
  listShapes(now);
  for (const name of ["hires-steps", "hires-strength", "hires-in"]) $(name).disabled = !$("hires-scale").value;
  tellCount();
  tellSize();
}

function suitPicture({ kind }) {
  show(init.picture, "from-fields");
  suitMask();
  suitStrength();
  show(!init.picture, "hires", "size-fields");
  show(kind !== "edit", "strength-fields", "outpaint-field", "paint", "guidance-shape");
  show(kind === "edit", "image-guidance-field");
  if (kind !== "text") $("from").open = true; // they work on a picture alone
}

/** Adding pixels at a side is inpainting too. */
function suitMask() {
  const outpaints = [...$("outpaint-field").querySelectorAll("input")].some((input) => Number(input.value) > 0);
  show(init.mask || outpaints, "mask-fields");
}

/** One of the two says where a run enters. */
function suitStrength() {
  $("strength").disabled = Boolean($("noise-level").value);
}

function show(whether, ...ids) {
  for (const id of ids) $(id).hidden = !whether;
}

function listExamples(prompts) {
  const ask = (prompt) => () => {
    enter($("prompt"), prompt);
    $("prompt").focus();
  };
  $("examples").replaceChildren(...prompts.map((prompt) => chip(prompt, ask(prompt))));
}

const SHAPES = { square: [1, 1], "3:2": [3, 2], "2:3": [2, 3], "16:9": [16, 9], "9:16": [9, 16] };

/** Shapes of about the model's own number of pixels; small pictures have too few pixels for that. */
function listShapes({ unit, width, height }) {
  const coarse = Math.max(unit, 64);
  const side = (share) => Math.round((Math.sqrt(width * height) * Math.sqrt(share)) / coarse) * coarse;
  const shape = ([across, down]) => () => {
    enter($("width"), side(across / down));
    enter($("height"), side(down / across));
  };
  const shapes = Object.entries(width < 256 ? {} : SHAPES);
  $("shapes").replaceChildren(...shapes.map(([name, sides]) => chip(name, shape(sides))));
}

const chip = (textContent, onclick) => make("button", { type: "button", textContent, onclick });

function tellCount() {
  const count = Number($("count").value);
  $("make").textContent = count > 1 ? `Make ${count} pictures` : "Make the picture";
}

const FAR = 4; // times as many pixels as the model's own, beyond which that is said

/**
 * How far a size is above the model's own, before it is asked for. No time is told: small networks take less than the
 * pixels say (a step of emoji 12 times as long for 16 times as many), those that attend everywhere take more.
 */
function tellSize() {
  const own = card();
  const scale = (!init.picture && Number($("hires-scale").value)) || 1;
  const asked = sizeAsked(own);
  const [width, height] = [asked.width, asked.height].map((side) => Math.round(side * scale));
  const times = (width * height) / (own.width * own.height);
  const told = Number(times.toPrecision(2)).toLocaleString("en");
  const sizes = `${own.name} makes ${own.width} × ${own.height}; ${width} × ${height}`;
  $("large").textContent = times > FAR ? `${sizes} has about ${told} times as many pixels, and takes longer.` : "";
}

/** Of the first pass: that of the picture that it begins from, but the model's own where only a masked area is made. */
function sizeAsked(own) {
  if (init.picture) return init.mask && $("masked-area").checked ? own : init.picture;
  return { width: Number($("width").value) || own.width, height: Number($("height").value) || own.height };
}
