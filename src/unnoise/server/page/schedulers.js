/** The schedulers by name, and the grid that may follow a name: "DPM++ 2M Karras" is one field to the server. */

import { json } from "./api.js";
import { Combo } from "./combo.js";
import { $, many, offer } from "./elements.js";

const combo = new Combo($("scheduler"), $("schedulers"));
let grids = [];

export async function listSchedulers() {
  const told = await json("/api/schedulers");
  // The longest first, so that "Align Your Steps XL" is not taken for a name that ends in "XL".
  grids = [...told.grids].sort((one, other) => other.length - one.length);
  combo.options = told.schedulers.map(option);
  offer($("grid"), told.grids);
  offer($("compat"), told.compat);
}

function option({ name, family, about, calls, stochastic, spellings }) {
  const facts = [about, calls > 1 && many(calls, "call"), stochastic && "draws noise"].filter(Boolean);
  const words = [name, family, ...facts, ...spellings].join(" ").toLowerCase();
  return { value: name, group: family, about: facts.join(" · "), words };
}

/** A full name in its two parts: {scheduler, grid}, the latter "" where none is named. */
function parted(name) {
  const grid = grids.find((known) => name.toLowerCase().endsWith(` ${known.toLowerCase()}`));
  return grid ? { scheduler: name.slice(0, -grid.length - 1), grid } : { scheduler: name, grid: "" };
}

/** The full name of what the two fields say; null leaves it to the model, whose own is `usual`. */
export function joined(usual) {
  const [typed, grid] = [$("scheduler").value.trim(), $("grid").value];
  if (!grid) return typed || null;
  return `${parted(typed || usual).scheduler} ${grid}`;
}

export function setScheduler(name) {
  const { scheduler, grid } = parted(name ?? "");
  $("scheduler").value = scheduler;
  $("grid").value = grid;
}
