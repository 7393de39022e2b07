/** Ctrl+Up and Ctrl+Down in a prompt: the selected words, or those at the cursor, count more or less. */

const STEP = 0.1;
const PARTS = /[\s,.;:()[\]|<>]/;

// How a weight is written behind the bracket that opened before the words, by prompt style.
const WRITTEN = {
  a1111: { after: /^:(-?\d+(?:\.\d+)?)\)/, write: (weight) => `:${weight})` },
  compel: { after: /^\)(\d+(?:\.\d+)?)/, write: (weight) => `)${weight}` },
};
WRITTEN.comfyui = WRITTEN.a1111;

/** The text with another weight on its words from `start` to `end`, and where they stand then; null in plain style. */
export function reweigh(text, start, end, up, style = "a1111") {
  const written = WRITTEN[style];
  if (!written) return null;
  [start, end] = words(text, start, end, written);
  if (start === end) return null;
  const known = text[start - 1] === "(" ? written.after.exec(text.slice(end)) : null;
  const weight = round((known ? Number(known[1]) : 1) + (up ? STEP : -STEP));
  const before = text.slice(0, known ? start - 1 : start);
  const after = text.slice(known ? end + known[0].length : end);
  const inner = text.slice(start, end);
  if (weight === 1) return { text: before + inner + after, start: before.length, end: before.length + inner.length };
  const at = before.length + 1;
  return { text: `${before}(${inner}${written.write(weight)}${after}`, start: at, end: at + inner.length };
}

const round = (weight) => Math.max(0, Math.round(weight * 100) / 100);

/** Which words are meant: without spaces at their ends; of a bracket with a weight what it holds. */
function words(text, start, end, written) {
  if (start === end) [start, end] = atCursor(text, start, written);
  while (start < end && /\s/.test(text[start])) start += 1;
  while (end > start && /\s/.test(text[end - 1])) end -= 1;
  const whole = /^\(([^()]*)/.exec(text.slice(start, end));
  if (whole && written.after.test(text.slice(start + whole[0].length))) {
    return [start + 1, start + whole[0].length];
  }
  return [start, end];
}

/** The weighed bracket around the cursor, or else the word at it. */
function atCursor(text, place, written) {
  const open = text.lastIndexOf("(", place - 1);
  const close = open < 0 ? null : /^[^()]*/.exec(text.slice(open + 1))[0];
  if (close !== null && open + 1 + close.length >= place) {
    const colon = written === WRITTEN.compel ? close.length : close.lastIndexOf(":");
    if (colon >= 0 && written.after.test(text.slice(open + 1 + colon))) return [open + 1, open + 1 + colon];
  }
  let [start, end] = [place, place];
  while (start > 0 && !PARTS.test(text[start - 1])) start -= 1;
  while (end < text.length && !PARTS.test(text[end])) end += 1;
  return [start, end];
}

/** Let these keys change weights in a text area; `style` gives the prompt style then. */
export function weighByKeys(area, style, refuse) {
  area.addEventListener("keydown", (event) => {
    const arrow = event.key === "ArrowUp" || event.key === "ArrowDown";
    if (!arrow || !(event.ctrlKey || event.metaKey) || event.altKey) return;
    event.preventDefault();
    if (style() === "plain") return refuse("Prompt style “plain” has no weights; choose another under More.");
    const made = reweigh(area.value, area.selectionStart, area.selectionEnd, event.key === "ArrowUp", style());
    if (!made) return;
    area.select();
    // Old, but the only way in which the browser's own undo takes the change back.
    document.execCommand("insertText", false, made.text);
    area.setSelectionRange(made.start, made.end);
  });
}
