/** A text field with a list that is filtered while one types: arrows choose, Enter takes, Escape closes. */

import { make } from "./elements.js";

export class Combo {
  /** {value, group, about, words (lower case, what the filter looks at)}. */
  options = [];
  #input;
  #list;
  #shown = [];
  #active = -1;

  constructor(input, list) {
    [this.#input, this.#list] = [input, list];
    input.addEventListener("focus", () => input.select());
    input.addEventListener("click", () => this.#open(""));
    input.addEventListener("input", () => this.#open(input.value));
    input.addEventListener("blur", () => this.#close());
    input.addEventListener("keydown", (event) => this.#key(event));
    // On pressing, because the field would lose its focus, and the list be closed, before the click.
    list.addEventListener("pointerdown", (event) => event.preventDefault());
    list.addEventListener("click", ({ target }) => {
      const row = target.closest("[role=option]");
      if (row) this.#take(this.#shown[[...list.querySelectorAll("[role=option]")].indexOf(row)]);
    });
  }

  #open(filter) {
    const parts = filter.toLowerCase().split(/\s+/).filter(Boolean);
    this.#shown = this.options.filter(({ words }) => parts.every((part) => words.includes(part)));
    this.#active = -1;
    this.#list.replaceChildren(...this.#rows());
    this.#list.hidden = !this.#shown.length;
    this.#input.setAttribute("aria-expanded", String(!this.#list.hidden));
    this.#input.removeAttribute("aria-activedescendant");
    this.#list.scrollTop = 0;
    this.#list.scrollIntoView({ block: "nearest" });
  }

  #rows() {
    let group = null;
    return this.#shown.flatMap((option, place) => {
      const begins = option.group !== group;
      group = option.group;
      const head = begins ? [make("li", { className: "group", role: "presentation" }, group)] : [];
      const about = make("small", {}, option.about);
      const row = { id: `${this.#list.id}-${place}`, role: "option", aria: { selected: "false" } };
      return [...head, make("li", row, make("span", {}, option.value), about)];
    });
  }

  #close() {
    this.#list.hidden = true;
    this.#input.setAttribute("aria-expanded", "false");
    this.#input.removeAttribute("aria-activedescendant");
  }

  #take(option) {
    this.#input.value = option.value;
    this.#input.dispatchEvent(new Event("change", { bubbles: true }));
    this.#close();
  }

  #key(event) {
    const turn = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (turn) {
      event.preventDefault();
      if (this.#list.hidden) this.#open("");
      else this.#move(turn);
    } else if (event.key === "Enter" && !this.#list.hidden && this.#active >= 0) {
      event.preventDefault();
      this.#take(this.#shown[this.#active]);
    } else if (event.key === "Escape") this.#close();
  }

  #move(turn) {
    const rows = [...this.#list.querySelectorAll("[role=option]")];
    rows[this.#active]?.setAttribute("aria-selected", "false");
    this.#active = (this.#active + turn + rows.length) % rows.length;
    const row = rows[this.#active];
    row.setAttribute("aria-selected", "true");
    row.scrollIntoView({ block: "nearest" });
    this.#input.setAttribute("aria-activedescendant", row.id);
  }
}
