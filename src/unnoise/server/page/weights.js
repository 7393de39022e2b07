/** Ctrl+Up and Ctrl+Down in a prompt: the selected words, or those at the cursor, count more or less. */

const STEP = 0.1;
const PARTS = /[\s,.;:()[\]|<>]/;

// How a weight is written behind the bracket that opened before the words, by prompt style.
const WRITTEN = {
  a1111: {
    group: /\(([^()]*):-?\d+(?:\.\d+)?\)/g,
    after: /^:(-?\d+(?:\.\d+)?)\)/,
    write: (weight) => `:${weight})`,
  },
  compel: { group: /\(([^()]*)\)\d+(?:\.\d+)?/g, after: /^\)(\d+(?:\.\d+)?)/, write: (weight) => `)${weight}` },
};
WRITTEN.comfyui = WRITTEN.a1111;

/** The text with another weight on its words from `start` to `end`, and where they stand then; null in plain style. */
function reweigh(text, start, end, up, style = "a1111") {
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
  while (start < end && /\s/.test(text[start])) start += 1;
  while (end > start && /\s/.test(text[end - 1])) end -= 1;
  for (const { index, 0: whole, 1: inner } of text.matchAll(written.group)) {
    const last = index + whole.length;
    const meant = start === end ? index <= start && start <= last : index === start && last === end;
    if (meant) return [index + 1, index + 1 + inner.length];
  }
  return start === end ? atCursor(text, start) : [start, end];
}

/** The word around a place between two letters. */
function atCursor(text, place) {
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
