/** The pictures of this session and of those before, newest first. */

import { $, arrange, make, tell } from "./elements.js";
import { titleOf } from "./jobs.js";
import { show } from "./pictures.js";

export class Gallery {
  #jobs;
  #open;

  /** open(job, made): what a click on a picture does. */
  constructor(jobs, open) {
    [this.#jobs, this.#open] = [jobs, open];
    jobs.addEventListener("change", () => this.draw());
    $("older").addEventListener("click", () =>
      jobs.older().catch((error) => tell(`Older pictures did not come: ${error.message}`)),
    );
  }

  /** All pictures in their order: [{job, made}, ...]. */
  get pictures() {
    return this.#jobs.list.flatMap((job) => job.images.map((made) => ({ job, made })));
  }

  draw() {
    const known = new Map([...$("gallery").children].map((tile) => [tile.dataset.name, tile]));
    const tiles = this.pictures.map(({ job, made }) => known.get(made.name) ?? this.#tile(job, made));
    arrange($("gallery"), tiles, $("stage"));
    $("gallery-part").hidden = !tiles.length && this.#jobs.complete; // a whole page of jobs may have no pictures
    $("older").hidden = this.#jobs.complete;
  }

  #tile(job, made) {
    const title = `${titleOf(job)} · seed ${made.seed}`;
    const image = make("img", { alt: title, title, loading: "lazy" });
    show(image, made);
    const open = make("button", { type: "button", onclick: () => this.#open(job, made) }, image);
    return make("li", { data: { name: made.name } }, open);
  }
}
