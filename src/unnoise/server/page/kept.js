/** The steps that were seen of the latest jobs, for walking through them afterwards. In memory; a reload ends them. */

const JOBS = 12;

export class Kept {
  #steps = new Map();
  #begun = new Map();

  /** Keep a step; one without pictures still counts for the chart. An attempt after a crash begins anew. */
  add(job, seen) {
    if (this.#begun.get(job.id) !== job.begun) this.#steps.delete(job.id);
    this.#begun.set(job.id, job.begun);
    const steps = this.#steps.get(job.id) ?? [];
    this.#steps.set(job.id, [...steps.filter((step) => step.index < seen.index), seen]);
    const oldest = this.#steps.keys().next().value;
    if (this.#steps.size > JOBS) this.forget(oldest);
  }

  /** The steps of a job in their order. */
  of(id) {
    return this.#steps.get(id) ?? [];
  }

  forget(id) {
    this.#steps.delete(id);
    this.#begun.delete(id);
  }
}

/** The latest step up to `index` that has pictures: the server leaves some out where they would cost time. */
export function shownAt(steps, index) {
  return steps.findLast((step) => step.index <= index && Object.keys(step.previews).length) ?? null;
}

/** Seconds that the steps still to come will take, at the pace of those that were seen; null before the second. */
export function secondsLeft(steps) {
  const [first, last] = [steps[0], steps.at(-1)];
  if (!last || last.index === first.index) return null;
  return ((last.seconds - first.seconds) / (last.index - first.index)) * (last.steps - last.index);
}
