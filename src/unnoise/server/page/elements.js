/** Elements of the page, found and made. Texts are only ever set as texts, so no prompt is read as HTML. */

const LONG = 240; // characters; five lines on a telephone

export const $ = (id) => document.getElementById(id);

/** A new element with these properties (`data` and `aria` as tables of attributes) and children. */
export function make(tag, { data = {}, aria = {}, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  for (const [name, value] of Object.entries(data)) element.dataset[name] = value;
  for (const [name, value] of Object.entries(aria)) element.setAttribute(`aria-${name}`, value);
  element.append(...children);
  return element;
}

/**
 * Let a list hold these rows in this order. Those that stay are not touched: a button that is taken out between press
 * and release is never clicked, and one that has the focus loses it. The focus of a row that goes passes to the next
 * one, or to `last`.
 */
export function arrange(list, rows, last) {
  const focused = [...list.children].findIndex((row) => row.contains(document.activeElement));
  const stay = new Set(rows);
  for (const row of [...list.children]) if (!stay.has(row)) row.remove();
  for (const [at, row] of rows.entries()) {
    if (list.children[at] !== row) list.insertBefore(row, list.children[at] ?? null);
  }
  if (focused >= 0 && !list.contains(document.activeElement)) {
    (list.children[Math.min(focused, rows.length - 1)]?.querySelector("button") ?? last).focus();
  }
}

/** Let a list hold these sentences. */
export function listNotes(list, notes) {
  if (list.textContent !== notes.join("")) list.replaceChildren(...notes.map((note) => make("li", {}, note)));
}

/** How a long text begins. */
export function beginning(text) {
  const letters = [...text]; // none of which is cut in two
  return letters.length > LONG ? `${letters.slice(0, LONG).join("").trimEnd()} …` : text;
}

/** A quiet sentence at the foot of the page, also read out by screen readers. */
export function tell(sentence) {
  const line = make("p", {}, sentence);
  $("told").replaceChildren(line);
  setTimeout(() => line.remove(), 6000);
}

/** Let a select offer these names, after its blank if it has one. What was chosen stays, where it still is there. */
export function offer(select, names) {
  const chosen = select.value;
  const blank = [...select.options].filter(({ value }) => !value);
  select.replaceChildren(...blank, ...names.map((name) => make("option", {}, name)));
  select.value = chosen;
  if (select.selectedIndex < 0) select.selectedIndex = 0;
}

/** Give a field a value as if it were typed. */
export function enter(field, value) {
  field.value = value;
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

/** Seconds as people say them; no line ends before the unit. */
export function time(seconds) {
  if (seconds < 9.95) return `${seconds.toFixed(1)}\u00a0s`;
  return seconds < 90 ? `${Math.round(seconds)}\u00a0s` : `${Math.round(seconds / 60)}\u00a0min`;
}

/** `many(4, "step")` in words: "1 step", "4 steps". */
export const many = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
