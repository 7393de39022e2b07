/**
 * A job's events as they come. Read with `fetch`, since an EventSource cannot send a token; a lost connection is taken
 * up again, and the server then tells where the job stands and the steps after the one that was heard last.
 */

import { Refused, call, pause } from "./api.js";
import { parse } from "./exact.js";

export const ENDED = new Set(["done", "failed", "cancelled"]);

/** Yields {job, seen} from the first step until the job has ended. Throws Refused where there is no such job. */
export async function* events(id, signal) {
  let after = "";
  for (let wait = 500; !signal.aborted; wait = Math.min(2 * wait, 8000)) {
    try {
      const response = await call(`/api/jobs/${id}/events`, { signal, after });
      for await (const { heard, event } of messages(response.body)) {
        after = heard || after;
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

/** {heard, event} of a text/event-stream: blocks parted by blank lines, whose lines are "id: ..." and "data: ...". */
async function* messages(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const data = told(block, "data");
      if (data) yield { heard: told(block, "id"), event: parse(data) };
    }
  }
}

/** What the lines of this name in a block say. */
function told(block, name) {
  const lines = block.split(/\r?\n/).filter((line) => line.startsWith(`${name}:`));
  return lines.map((line) => line.slice(name.length + 1).trim()).join("\n");
}
