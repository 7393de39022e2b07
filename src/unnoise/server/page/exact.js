/**
 * JSON whose seeds are exact. Seeds go up to 2^63 and a JavaScript number holds whole numbers up to 2^53, so a larger
 * one is kept as a text of digits: another seed by one would be another picture.
 */

export function parse(text) {
  return JSON.parse(text, (name, value, context) =>
    name === "seed" && !Number.isSafeInteger(value) && context?.source ? context.source : value,
  );
}

export function write({ seed, ...fields }) {
  const text = JSON.stringify(fields);
  if (seed === undefined || seed === null) return text;
  const digits = /^-?\d+$/.test(seed) ? String(BigInt(seed)) : JSON.stringify(seed);
  return `${text.slice(0, -1)}${text === "{}" ? "" : ","}"seed":${digits}}`;
}
