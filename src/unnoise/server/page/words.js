/** The one-sentence explanation of a word: on hover, on focus by keyboard, on a tap. */

import { $ } from "./elements.js";

const PATIENCE = 350; // ms that a pointer rests before something appears, and has to come from a word to its sentence
let waiting = 0;
let byKeyboard = false;

/** Every element with `data-word` explains itself by the sentence that the page's last part has for it. */
export function explainWords() {
  for (const element of document.querySelectorAll("[data-word]")) describe(element);
  document.addEventListener("pointerover", ({ target, pointerType }) => {
    if (pointerType !== "mouse") return;
    clearTimeout(waiting);
    const word = wordOf(target);
    if (!$("explanation").contains(target)) waiting = setTimeout(word ? show : hide, PATIENCE, word);
  });
  document.addEventListener("click", explainTapped);
  document.addEventListener("keydown", ({ key }) => {
    byKeyboard = true;
    if (key !== "Tab") hide(); // who types knows what it is
  });
  document.addEventListener("pointerdown", () => {
    byKeyboard = false;
    hide();
  });
  document.addEventListener("focusin", ({ target }) => {
    const word = wordOf(target) ?? document.querySelector(`label[data-word][for="${target.id}"]`);
    if (byKeyboard && word) show(word);
    else hide();
  });
  for (const name of ["scroll", "resize"]) addEventListener(name, hide, { capture: true, passive: true });
}

const wordOf = (element) => element.closest?.("[data-word]");

/** Screen readers read the sentence after the name of the field or word. */
function describe(element) {
  const target = element.htmlFor ? $(element.htmlFor) : element;
  target.setAttribute("aria-describedby", `word-${element.dataset.word}`);
}

/** A finger cannot hover: a tap on a label explains it, instead of calling up a keyboard. */
function explainTapped(event) {
  const word = wordOf(event.target);
  if (!word || (word.tagName === "LABEL" && event.pointerType !== "touch")) return;
  if (word.tagName === "LABEL") event.preventDefault();
  show(word);
}

function show(word) {
  const tip = $("explanation");
  tip.replaceChildren(...$(`word-${word.dataset.word}`).cloneNode(true).childNodes);
  // Inside an open dialog, since that lies above everything else.
  (word.closest("dialog") ?? document.body).append(tip);
  tip.hidden = false;
  place(tip, word.getBoundingClientRect(), (word.control ?? word).getBoundingClientRect());
}

/** Above the word, so that the field under a label stays in sight; where there is no room below that. */
function place(tip, at, field) {
  const { width, height } = tip.getBoundingClientRect();
  const room = document.documentElement.clientWidth - width - 12;
  tip.style.left = `${Math.max(12, Math.min(at.left, room))}px`;
  tip.style.top = `${at.top - height - 8 > 8 ? at.top - height - 8 : field.bottom + 8}px`;
}

function hide() {
  clearTimeout(waiting);
  $("explanation").hidden = true;
}
