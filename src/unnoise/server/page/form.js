/** The form: its inputs -> the fields of a request, and back; a refusal stands at the field that it names. */

import { $, make } from "./elements.js";
import { joined, setScheduler } from "./schedulers.js";

const form = $("asked");

/** What was typed that is no value at all, such as letters in a number. */
export class Unreadable extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

/** The inputs by field; several inputs of one name are one list, such as pixels to the left, top, right and bottom. */
function inputs() {
  const named = [...form.elements].filter((input) => input.name);
  return Map.groupBy(named, (input) => input.name);
}

/** The fields that are filled in and in sight, as the server takes them. Throws Unreadable. */
export function read(card) {
  const fields = {};
  for (const [name, group] of inputs()) {
    if (group[0].closest("[hidden]") || group[0].matches(":disabled")) continue;
    const value = group.length > 1 ? listed(group) : single(group[0]);
    if (value !== null) fields[name] = value;
  }
  const scheduler = joined(card.scheduler);
  return scheduler ? { ...fields, scheduler } : fields;
}

function single(input) {
  if (input.validity.badInput) throw new Unreadable(input.name, "This is not a number.");
  if (input.type === "checkbox") return input.checked || null;
  const text = input.value.trim();
  if (!text) return null;
  return input.type === "number" || input.type === "range" ? Number(text) : text;
}

/** Null where nothing is filled in; else each value, or what a blank stands for. */
function listed(group) {
  const values = group.map(single);
  if (values.every((value) => value === null)) return null;
  return values.map((value, place) => value ?? Number(group[place].dataset.blank ?? 0));
}

/** Fill the form with a request's fields; what they do not name is left to the model again. */
export function fill({ model, ...fields }) {
  chooseModel(model);
  for (const [name, group] of inputs()) {
    if (name === "model") continue;
    const value = fields[name];
    for (const [place, input] of group.entries()) {
      const one = Array.isArray(value) ? value[place] : value;
      if (input.type === "checkbox") input.checked = Boolean(one);
      else input.value = one ?? input.defaultValue ?? "";
      if (input.tagName === "SELECT" && input.selectedIndex < 0) input.selectedIndex = 0;
    }
  }
  if (String(fields.seed) === "-1") $("seed").value = "";
  setScheduler(fields.scheduler);
  unfold();
  form.dispatchEvent(new Event("input", { bubbles: true }));
}

/** Where the model of these settings is not served, or they do not name it, the one that is chosen stays. */
export function chooseModel(meant) {
  const chosen = $("model").value;
  $("model").value = meant ?? "";
  const served = $("model").selectedIndex >= 0;
  if (!served) $("model").value = chosen;
  const lacks = meant ? `“${meant}” is not served here` : "The model of these settings is not known here";
  $("model-lacking").textContent = served ? "" : `${lacks}; ${chosen} is chosen instead.`;
}

/** A folded part that says something is opened, so that nothing acts unseen. */
function unfold() {
  const usual = (input) =>
    input.tagName === "SELECT" ? input.selectedIndex === 0 : input.type === "range" || input.value === "";
  $("more").open ||= [...$("more").querySelectorAll("[name]")].some((input) => !usual(input));
}

const BUTTONS = { init: "choose", mask: "paint" };

/** Show a refusal at its field, or above the button where it names none that is in sight. */
export function refuse(name, message) {
  accept();
  const named = name && (form.elements.namedItem(name) ?? $(BUTTONS[name]));
  const input = named instanceof RadioNodeList ? named[0] : named;
  const field = input?.closest(".field");
  if (!field || field.closest("[hidden]")) {
    $("refused").textContent = message;
    $("refused").hidden = false;
    return;
  }
  const folded = field.closest("details");
  if (folded) folded.open = true;
  const row = field.closest(".pair, .three") ?? field; // a sentence is too long for half the width
  const told = message.replaceAll(name, name.replaceAll("_", " "));
  row.append(make("p", { className: "error", id: "error", role: "alert" }, told));
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-errormessage", "error");
  input.focus();
  row.scrollIntoView({ block: "nearest" });
}

/** Take the refusal away. */
export function accept() {
  $("refused").hidden = true;
  form.querySelector("#error")?.remove();
  for (const input of form.querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-errormessage");
  }
}
