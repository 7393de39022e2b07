/** Pictures that are dropped, pasted or chosen: one that tells how it was made offers its settings first. */

import { Refused, json } from "./api.js";
import { $, beginning, listNotes, many, tell } from "./elements.js";
import { init, readPicture } from "./init.js";
import { isSmall } from "./pictures.js";

/** Take pictures in; `use` gets the settings that one carries. */
export function receivePictures(use) {
  let found = null;
  const receive = async (file) => {
    found = await look(file);
    if (found) offer(found);
  };
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    if ($("file").files[0]) receive($("file").files[0]);
    $("file").value = "";
  });
  $("found-use").addEventListener("click", () => settle(() => use(found.asked)));
  $("found-start").addEventListener("click", () => settle(() => init.choose(found.picture)));
  $("found-leave").addEventListener("click", () => settle(() => {}));
  addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData.files[0]) receive(clipboardData.files[0]);
  });
  receiveDrops(receive);
  $("init-remove").addEventListener("click", () => init.set(null));
}

function receiveDrops(receive) {
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  const veil = (shown) => () => ($("veil").hidden = !shown);
  addEventListener("dragenter", (event) => carries(event) && veil(true)());
  addEventListener("dragover", (event) => carries(event) && event.preventDefault());
  $("veil").addEventListener("dragleave", veil(false));
  addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    veil(false)();
    if (event.dataTransfer.files[0]) receive(event.dataTransfer.files[0]);
  });
}

/** What a file tells: {picture, asked, notes}. One without settings becomes the start of the run, and null is given. */
async function look(file) {
  let picture;
  try {
    picture = await readPicture(file);
  } catch {
    tell(`“${file.name}” is not a picture that can be read; PNG, JPEG and WebP are.`);
    return null;
  }
  try {
    return { picture, ...(await json("/api/read", { method: "POST", fields: { image: picture.data } })) };
  } catch (error) {
    if (!(error instanceof Refused)) tell("The server cannot be reached to read the picture's settings.");
    init.choose(picture);
    return null;
  }
}

function offer({ picture, asked, notes }) {
  $("found-picture").src = picture.data;
  $("found-picture").classList.toggle("pixels", isSmall(picture));
  $("found-summary").textContent = summary(asked);
  listNotes($("found-notes"), notes ?? []);
  $("found").hidden = false;
  $("found").scrollIntoView({ block: "nearest" });
  $("found-use").focus();
}

function summary({ prompt, steps, scheduler, seed }) {
  const facts = [steps && many(steps, "step"), scheduler, seed !== undefined && seed !== null && `seed ${seed}`];
  return [prompt && `“${beginning(prompt)}”`, ...facts].filter(Boolean).join(" · ");
}

function settle(act) {
  $("found").hidden = true;
  act();
}
