/** The jobs of the server as this page knows them: listed every few seconds, the one at work followed step by step. */

import { Refused, call, json, newKey, pause } from "./api.js";
import { beginning, tell } from "./elements.js";
import { ENDED, events } from "./events.js";
import { Kept } from "./kept.js";
import { remember, remembered } from "./memory.js";
import { release } from "./pictures.js";

const MINE = "unnoise-mine";
const PAGE = 60;

/** Tells "change" when a job changed, "seen" (detail: job, seen) after a step, "lost" and "reached" of the server. */
export class Jobs extends EventTarget {
  kept = new Kept();
  complete = false;
  #all = new Map();
  #following = null; // {id, stop}
  #recalling = new AbortController();
  #mine = mine();

  constructor() {
    super();
    addEventListener("storage", () => (this.#mine = mine())); // other tabs ask for pictures too
  }

  /** Newest first. */
  get list() {
    return [...this.#all.values()].sort((one, other) => other.created - one.created);
  }

  /** Those that have not ended, the one at work first. */
  get waiting() {
    return this.list
      .filter((job) => !ENDED.has(job.state))
      .sort((one, other) => (one.place ?? -1) - (other.place ?? -1));
  }

  get(id) {
    return this.#all.get(id);
  }

  /** Whether the job was asked for by this browser. */
  owns(id) {
    return this.#mine.has(id);
  }

  /** Ask for pictures. A request whose answer was lost is sent once more under the same key, and made once. */
  async submit(fields, from) {
    const request = { method: "POST", fields, key: newKey() };
    const job = await json("/api/jobs", request).catch((error) => {
      if (error instanceof Refused) throw error;
      return json("/api/jobs", request);
    });
    this.#mine = mine().add(job.id);
    remember("localStorage", MINE, JSON.stringify([...this.#mine].slice(-500)));
    if (from) this.kept.begin(job.id, from);
    this.#take([job]);
    return job;
  }

  /** Cancel a job that waits or runs, dismiss one that failed. */
  async end(id) {
    try {
      if (ENDED.has(this.get(id).state)) await this.forget(id);
      else this.#take([await json(`/api/jobs/${id}`, { method: "DELETE" })]);
    } catch (error) {
      tell(`It could not be cancelled: ${error.message}`);
    }
  }

  /** Remove an ended job with its pictures from the server. */
  async forget(id) {
    await call(`/api/jobs/${id}`, { method: "DELETE" });
    this.#drop(id);
    this.dispatchEvent(new Event("change"));
  }

  #drop(id) {
    for (const { url } of this.get(id)?.images ?? []) release(url);
    this.#all.delete(id);
    this.kept.forget(id);
  }

  /**
   * Ask for the steps of an ended job that is not kept from its first step on, until another is asked for. Returns
   * whether none was; there may be no steps then, since the server keeps those of the last jobs alone.
   */
  async recall(id) {
    this.#recalling.abort();
    const { signal } = (this.#recalling = new AbortController());
    if (this.kept.of(this.get(id))[0]?.index === 1) return true;
    const past = [];
    try {
      for await (const event of events(id, signal)) if (event.seen) past.push(event);
    } catch {
      return true; // the server does not know the job any more
    }
    if (past.length && !signal.aborted) this.kept.replace(id, past);
    return !signal.aborted;
  }

  /** Ask for the jobs before the oldest that is known; where the server has let go of that one, before the next. */
  async older() {
    const oldest = this.list.at(-1);
    try {
      const { jobs } = await json(`/api/jobs?limit=${PAGE}${oldest ? `&before=${oldest.id}` : ""}`);
      this.complete = jobs.length < PAGE;
      this.#take(jobs);
    } catch (error) {
      if (error.status !== 404) throw error;
      this.#drop(oldest.id);
      await this.older();
    }
  }

  /** Look after the jobs for as long as the page is open. */
  async keepUp() {
    for (;;) {
      await this.#refresh();
      // Others may ask for pictures too, so an idle page looks now and then.
      await pause(document.hidden ? 15000 : this.waiting.length ? 2000 : 8000);
    }
  }

  async #refresh() {
    try {
      const { jobs } = await json(`/api/jobs?limit=${PAGE}`);
      if (!this.#all.size) this.complete = jobs.length < PAGE;
      this.#dropForgotten(jobs);
      this.#take(jobs);
      this.dispatchEvent(new Event("reached"));
    } catch {
      this.dispatchEvent(new Event("lost"));
    }
  }

  /** What is no longer kept stands in the stretch of the list that came, and is not in it; a short list is all. */
  #dropForgotten(jobs) {
    const there = new Set(jobs.map((job) => job.id));
    const since = jobs.length < PAGE ? 0 : jobs.at(-1).created;
    for (const job of this.list) {
      if (job.created > since && ENDED.has(job.state) && !there.has(job.id)) this.#drop(job.id);
    }
  }

  #take(jobs) {
    jobs.forEach((job) => this.#learn(job));
    this.dispatchEvent(new Event("change"));
    this.#endSilent();
    this.#follow();
  }

  #learn(job) {
    const known = this.#all.get(job.id);
    if (!known || !isLater(known, job)) this.#all.set(job.id, job);
  }

  /** A stream that died without a word is ended once the list says that its job has. */
  #endSilent() {
    const followed = this.#following;
    if (!followed || !ENDED.has(this.get(followed.id)?.state)) return;
    setTimeout(() => followed.stop.abort(), 2000);
  }

  /** Follow the job at work, or the next; one stream at a time leaves the browser's connections to pictures. */
  async #follow() {
    const next = this.waiting[0];
    if (!next || this.#following) return;
    const stop = new AbortController();
    this.#following = { id: next.id, stop };
    try {
      for await (const { job, seen } of events(next.id, stop.signal)) {
        if (seen) this.kept.add(job, seen);
        this.#learn(job);
        this.dispatchEvent(seen ? new CustomEvent("seen", { detail: { job, seen } }) : new Event("change"));
      }
    } catch {
      this.#drop(next.id); // the server knows it no longer
    }
    this.#following = null;
    await this.#refresh();
  }
}

/** The jobs that this browser asked for, in whichever tab. */
const mine = () => new Set(JSON.parse(remembered("localStorage", MINE) ?? "[]"));

export const titleOf = ({ asked }) => beginning(asked.prompt) || "Without a prompt";

/** Whether what is known is later than an answer that was on its way meanwhile, or a step that is told again. */
function isLater(known, job) {
  if (ENDED.has(known.state)) return !ENDED.has(job.state);
  return known.begun === job.begun && known.step > job.step;
}
