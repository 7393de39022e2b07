/** The queue: what waits, and what is at work away from the stage; each of this browser's own can be cancelled. */

import { $, arrange, make } from "./elements.js";
import { titleOf } from "./jobs.js";

export class Queue {
  #jobs;
  #stage;
  #watch;

  /** watch(id): what a click on a job does. */
  constructor(jobs, stage, watch) {
    [this.#jobs, this.#stage, this.#watch] = [jobs, stage, watch];
    jobs.addEventListener("change", () => this.draw());
    jobs.addEventListener("seen", () => this.draw());
  }

  draw() {
    const failed = this.#jobs.list.filter(({ id, state }) => state === "failed" && this.#jobs.owns(id));
    const waiting = this.#jobs.waiting.filter(({ id }) => id !== this.#stage.watched);
    const rows = [...waiting, ...failed];
    const known = new Map([...$("queue").children].map((row) => [row.dataset.id, row]));
    const drawn = rows.map((job) => this.#update(known.get(job.id) ?? this.#row(job), job));
    arrange($("queue"), drawn, $("stage"));
    $("queue-part").hidden = !rows.length;
    $("queue-title").textContent = waiting.length ? "In the queue" : "Failed";
  }

  #row(job) {
    const title = make("button", { type: "button", className: "title", onclick: () => this.#watch(job.id) });
    title.textContent = titleOf(job);
    const bar = make("progress", { max: 1, aria: { label: "Progress" } });
    const end = make("button", { type: "button", className: "quiet", onclick: () => this.#jobs.end(job.id) });
    return make("li", { data: { id: job.id } }, title, make("span", { className: "soft" }), bar, end);
  }

  #update(row, job) {
    const [, told, bar, end] = row.children;
    told.textContent = standing(job);
    told.classList.toggle("bad", job.state === "failed");
    bar.hidden = job.state !== "running";
    bar.value = job.steps ? job.step / job.steps : 0;
    end.hidden = !this.#jobs.owns(job.id);
    end.textContent = job.state === "failed" ? "Dismiss" : "Cancel";
    return row;
  }
}

function standing(job) {
  if (job.state === "failed") return job.error?.message ?? "It failed.";
  if (job.state === "running") return job.steps ? `step ${job.step} of ${job.steps}` : "getting ready";
  return job.place ? `${job.place} before it` : "next";
}
