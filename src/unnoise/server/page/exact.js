/**
 * JSON whose seeds are exact. Seeds go up to 2^63 and a JavaScript number holds whole numbers up to 2^53, so a larger
 * one is kept as a text of digits: another seed by one would be another picture.
 */

export function parse(text) {
  return JSON.parse(text, (_, value, context) =>
    typeof value === "number" && !Number.isSafeInteger(value) && DIGITS.test(context?.source) ? context.source : value,
  );
}

/** Seeds may be texts of digits. */
export function write({ seed, variation, ...fields }) {
  const parts = [JSON.stringify(fields).slice(1, -1)];
  if (variation) parts.push(`"variation":[${variation.map(exact)}]`);
  if (seed !== undefined && seed !== null) parts.push(`"seed":${exact(seed)}`);
  return `{${parts.filter(Boolean)}}`;
}

const DIGITS = /^-?\d+$/;

const exact = (value) => (DIGITS.test(value) ? String(BigInt(value)) : JSON.stringify(value));
