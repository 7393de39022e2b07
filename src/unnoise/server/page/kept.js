/** The steps of the jobs that were looked at, and what this page's own began from, which the server does not keep. */

const BYTES = 64e6; // those of the oldest jobs go first

export class Kept {
  #jobs = new Map(); // id -> {from, begun, steps, bytes}

  /** from: the picture that a job begins from with its mask, {data, width, height, mask}. */
  begin(id, from) {
    this.#jobs.set(id, { from, steps: [], bytes: bytes(from) });
    this.#makeRoom(id);
  }

  /** Keep a step; one without pictures still counts for the chart. Another run of the job begins anew. */
  add(job, seen) {
    let kept = this.#jobs.get(job.id);
    if (kept?.begun !== job.begun) {
      kept = { from: kept?.from, begun: job.begun, steps: [], bytes: bytes(kept?.from) };
      this.#jobs.set(job.id, kept);
    }
    if (kept.steps.length && kept.steps.at(-1).index >= seen.index) return; // told again after a lost connection
    kept.steps.push(seen);
    kept.bytes += bytes(seen.previews);
    this.#makeRoom(job.id);
  }

  /** Steps of a job, [{job, seen}, ...], instead of those that are kept. */
  replace(id, told) {
    const from = this.from(id);
    this.forget(id);
    if (from) this.begin(id, from);
    for (const { job, seen } of told) this.add(job, seen);
  }

  /** The steps of a job in their order, those of its run now. */
  of(job) {
    const kept = this.#jobs.get(job.id);
    return kept?.begun === job.begun ? kept.steps : [];
  }

  from(id) {
    return this.#jobs.get(id)?.from;
  }

  forget(id) {
    this.#jobs.delete(id);
  }

  #makeRoom(now) {
    let whole = [...this.#jobs.values()].reduce((sum, kept) => sum + kept.bytes, 0);
    for (const [id, kept] of this.#jobs) {
      if (whole <= BYTES) return;
      if (id === now) continue;
      whole -= kept.bytes;
      this.forget(id);
    }
  }
}

/** Of the addresses among these values, which hold pictures. */
const bytes = (values = {}) => Object.values(values).reduce((sum, value) => sum + (value?.length ?? 0), 0);

const hasPictures = ({ previews }) => Object.keys(previews).length > 0;

/** The steps to walk through: those with pictures, since the server leaves some out; all, where it sent none at all. */
export function looks(steps) {
  return steps.some(hasPictures) ? steps.filter(hasPictures) : steps;
}

/** The latest step up to `index` that has pictures, or null. */
export function shownAt(steps, index) {
  return steps.findLast((step) => step.index <= index && hasPictures(step)) ?? null;
}

/** The index of the step to walk to that is nearest to `index`. */
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
