/** The models that are served: their defaults stand in the empty fields, their kind decides which fields there are. */

import { eventually } from "./api.js";
import { $, enter, make } from "./elements.js";
import { init } from "./init.js";

let cards = [];

export const card = () => cards.find(({ name }) => name === $("model").value) ?? cards[0];

/** The card of a job's model. */
export const cardOf = (job) => cards.find(({ name }) => name === job.asked.model) ?? cards[0];

/** Ask for the cards until the server has them. */
export async function listModels(told) {
  ({ models: cards } = await eventually("/api/models", told));
  $("model").append(...cards.map(({ name }) => make("option", {}, name)));
  $("model").addEventListener("change", () => {
    for (const side of ["width", "height"]) $(side).value = ""; // those of another model would rarely fit
    suit();
  });
  init.addEventListener("change", suit);
  $("hires-scale").addEventListener("input", suit);
  $("asked").addEventListener("input", () => {
    tellCount();
    suitMask();
  });
  suit();
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
}

function suitPicture({ kind }) {
  show(init.picture, "from-fields");
  suitMask();
  show(!init.picture, "hires", "size-fields");
  show(kind !== "edit", "strength-field", "outpaint-field", "paint", "guidance-shape");
  show(kind === "edit", "image-guidance-field");
  if (kind !== "text") $("from").open = true; // they work on a picture alone
}

/** Adding pixels at a side is inpainting too. */
function suitMask() {
  const outpaints = [...$("outpaint-field").querySelectorAll("input")].some((input) => Number(input.value) > 0);
  show(init.mask || outpaints, "mask-fields");
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
