/** The steps that were seen of the latest jobs, for walking through them afterwards. In memory; a reload ends them. */

const BYTES = 64e6; // of pictures; those of the oldest jobs go first

export class Kept {
  #steps = new Map();
  #begun = new Map();
  #bytes = new Map();

  /** Keep a step; one without pictures still counts for the chart. An attempt after a crash begins anew. */
  add(job, seen) {
    if (this.#begun.get(job.id) !== job.begun) this.forget(job.id);
    this.#begun.set(job.id, job.begun);
    const steps = this.of(job.id);
    if (steps.length && steps.at(-1).index >= seen.index) return; // told again after a lost connection
    this.#steps.set(job.id, [...steps, seen]);
    const size = Object.values(seen.previews).reduce((sum, { length }) => sum + length, 0);
    this.#bytes.set(job.id, (this.#bytes.get(job.id) ?? 0) + size);
    this.#makeRoom();
  }

  #makeRoom() {
    let whole = [...this.#bytes.values()].reduce((sum, bytes) => sum + bytes, 0);
    for (const [id, bytes] of [...this.#bytes].slice(0, -1)) {
      if (whole <= BYTES) return;
      whole -= bytes;
      this.forget(id);
    }
  }

  /** The steps of a job in their order. */
  of(id) {
    return this.#steps.get(id) ?? [];
  }

  forget(id) {
    for (const table of [this.#steps, this.#begun, this.#bytes]) table.delete(id);
  }
}

/** The steps that have pictures: the server leaves some out where they would cost time. */
export function looks(steps) {
  return steps.filter(({ previews }) => Object.keys(previews).length);
}

/** The latest step up to `index` that has pictures, or null. */
export function shownAt(steps, index) {
  return looks(steps).findLast((step) => step.index <= index) ?? null;
}

/** The index of the step with pictures that is nearest to `index`. */
export function nearest(steps, index) {
  const far = (step) => Math.abs(step.index - index);
  return looks(steps).reduce((best, step) => (far(step) < far(best) ? step : best)).index;
}

/** Seconds that the steps still to come will take, at the pace of those that were seen; null before the second. */
export function secondsLeft(steps) {
  const [first, last] = [steps[0], steps.at(-1)];
  if (!last || last.index === first.index) return null;
  return ((last.seconds - first.seconds) / (last.index - first.index)) * (last.steps - last.index);
}
