/**
 * What is filled in, kept in this browser over a reload: the fields in its local storage; the picture to begin from and
 * its mask, for which that is too small, in its database.
 */

import { $, tell } from "./elements.js";
import { Unreadable, accept, fill, read } from "./form.js";
import { init } from "./init.js";
import { remember, remembered } from "./memory.js";
import { card } from "./models.js";

const FIELDS = "unnoise-draft";
const PICTURE = "picture"; // the store of the database, and its one key
const form = $("asked");

/** Fill in what was kept once this promise ends; what was typed or chosen meanwhile counts more. */
export async function takeUp(listed) {
  const early = new Map();
  const hear = ({ target }) => early.set(target, target.value);
  form.addEventListener("input", hear);
  await listed;
  const { picture, mask } = await keptPicture();
  form.removeEventListener("input", hear);
  fill({ model: card().name, ...JSON.parse(remembered("localStorage", FIELDS) ?? "{}") });
  for (const [field, value] of early) field.value = value;
  if (picture && !init.picture) init.set(picture, mask);
}

/** Keep what is filled in from now on. */
export function keepDraft() {
  form.addEventListener("input", () => {
    accept(); // what was refused is no longer asked for
    keepFields();
  });
  init.addEventListener("change", () => {
    keepFields(); // a mask brings another strength
    keepPicture().catch(() => tell("This browser cannot keep the picture to begin from; after a reload, add it again."));
  });
}

function keepFields() {
  try {
    remember("localStorage", FIELDS, JSON.stringify(read(card())));
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
  }
}

/** The one before goes first: where there is no room for this one, neither comes back. */
async function keepPicture() {
  const place = await database();
  const { picture, mask } = init;
  await Promise.all([
    write(place, (store) => store.clear()),
    write(place, (store) => picture && store.put({ picture, mask }, PICTURE)),
  ]);
}

async function keptPicture() {
  try {
    const asked = (await database()).transaction(PICTURE).objectStore(PICTURE).get(PICTURE);
    return (await ended(asked, "success", "error")) ?? {};
  } catch {
    return {}; // a browser that keeps nothing
  }
}

async function database() {
  const asked = indexedDB.open("unnoise");
  asked.addEventListener("upgradeneeded", () => asked.result.createObjectStore(PICTURE));
  return ended(asked, "success", "error");
}

function write(place, change) {
  const writing = place.transaction(PICTURE, "readwrite");
  change(writing.objectStore(PICTURE));
  return ended(writing, "complete", "abort");
}

/** The result of a request or a transaction of the database, once it tells `well`. */
function ended(asked, well, badly) {
  return new Promise((done, failed) => {
    asked.addEventListener(well, () => done(asked.result));
    asked.addEventListener(badly, () => failed(asked.error));
  });
}
