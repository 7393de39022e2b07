/**
 * A job's events as they come. Read with `fetch`, since an EventSource cannot send a token; a lost connection is taken
 * up again, and the server then begins with where the job stands.
 */

import { Refused, call, pause } from "./api.js";
import { parse } from "./exact.js";

export const ENDED = new Set(["done", "failed", "cancelled"]);

/** Yields {job, seen} until the job has ended. Throws Refused where there is no such job. */
export async function* events(id, signal) {
  for (let wait = 500; !signal.aborted; wait = Math.min(2 * wait, 8000)) {
    try {
      const response = await call(`/api/jobs/${id}/events`, { signal });
      for await (const event of messages(response.body)) {
        yield event;
        if (ENDED.has(event.job.state)) return;
        wait = 500;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && !error.passing) throw error;
    }
    await pause(wait);
  }
}

/** The data of a text/event-stream: blocks parted by blank lines, of which the lines "data: ..." count. */
async function* messages(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block
        .split(/\r?\n/)
        .filter((line) => line.startsWith("data:"))
        .map((line) => line.slice(5));
      if (data.length) yield parse(data.join("\n"));
    }
  }
}
