/** Elements of the page, found and made. Texts are only ever set as texts, so no prompt is read as HTML. */

export const $ = (id) => document.getElementById(id);

/** A new element with these properties (`data` and `aria` as tables of attributes) and children. */
export function make(tag, { data = {}, aria = {}, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  for (const [name, value] of Object.entries(data)) element.dataset[name] = value;
  for (const [name, value] of Object.entries(aria)) element.setAttribute(`aria-${name}`, value);
  element.append(...children);
  return element;
}

/** A quiet sentence at the foot of the page, also read out by screen readers. */
export function tell(sentence) {
  const line = make("p", {}, sentence);
  $("told").replaceChildren(line);
  setTimeout(() => line.remove(), 6000);
}

/** `make(4, "step")` in words: "1 step", "4 steps". */
export const many = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
