/** Requests to the server, and the errors that it answers with. */

import { parse, write } from "./exact.js";
import { askForToken, token } from "./gate.js";

/** What the server refused: `field` names the input at fault, if one is. */
export class Refused extends Error {
  constructor(status, { code = "failed", message, field = null } = {}) {
    super(message ?? `the server answered ${status}`);
    Object.assign(this, { status, code, field });
  }

  /** Whether the same request may succeed a little later. */
  get passing() {
    return this.status === 429 || this.status >= 500;
  }
}

/** The response to a request. Throws Refused, or TypeError where the server cannot be reached. */
export async function call(path, { method = "GET", fields, key, after, signal } = {}) {
  for (;;) {
    const used = token();
    const response = await fetch(path, {
      method,
      signal,
      headers: headers(used, fields, key, after),
      body: fields && write(fields),
    });
    if (response.ok) return response;
    if (response.status !== 401) throw await refusal(response);
    if (token() === used) await askForToken();
  }
}

function headers(used, fields, key, after) {
  return {
    ...(used && { Authorization: `Bearer ${used}` }),
    ...(fields && { "Content-Type": "application/json" }),
    ...(key && { "Idempotency-Key": key }),
    ...(after && { "Last-Event-ID": after }),
  };
}

async function refusal(response) {
  try {
    return new Refused(response.status, parse(await response.text()).error);
  } catch {
    return new Refused(response.status);
  }
}

export async function json(path, options) {
  return parse(await (await call(path, options)).text());
}

/** Ask the same again until the server is there and ready. */
export async function eventually(ask, told) {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (error instanceof Refused && !error.passing) throw error;
      told(error);
      await pause(1000);
    }
  }
}

/** A key by which the server knows a request that is sent twice (`randomUUID` is not there on plain http). */
export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
