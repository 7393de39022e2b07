/** The picture that a run begins from, and the mask painted on it. */

import { $ } from "./elements.js";
import { isSmall } from "./pictures.js";

// The server takes 12 MB, and base64 makes 4 bytes of 3; the mask needs a little too.
const BYTES = 8e6;
const SIDE = 2048;

/** Holds what is begun from; tells "change". picture: {data, width, height}; mask: a data: address of a PNG. */
class Init extends EventTarget {
  picture = null;
  mask = null;

  set(picture, mask = null) {
    if (this.picture) $("strength").value = mask ? 1 : 0.75; // the first one leaves what settings brought
    Object.assign(this, { picture, mask });
    this.#changed();
    if (picture) $("from").open = true;
  }

  /** Begin from a picture that a person just chose: they see it, once its height is known and if no other came. */
  choose(picture) {
    this.set(picture);
    const scroll = () => $("from").scrollIntoView({ block: "nearest" });
    $("init-picture").decode().then(scroll, () => {});
  }

  setMask(mask) {
    // What inpainting and image to image usually want.
    if (Boolean(mask) !== Boolean(this.mask)) $("strength").value = mask ? 1 : 0.75;
    this.mask = mask;
    this.#changed();
  }

  /** The fields of a request. */
  fields() {
    if (!this.picture) return {};
    return { init: this.picture.data, ...(this.mask && !$("paint").hidden && { mask: this.mask }) };
  }

  #changed() {
    $("init").hidden = !this.picture;
    $("choose").hidden = Boolean(this.picture);
    $("mask-shown").hidden = !this.mask;
    if (this.mask) $("mask-shown").style.maskImage = `url("${this.mask}")`;
    if (this.picture) {
      $("init-picture").src = this.picture.data;
      $("init").classList.toggle("pixels", isSmall(this.picture));
      $("init-size").textContent = `${this.picture.width} × ${this.picture.height}`;
    }
    $("paint").textContent = this.mask ? "Change the mask" : "Paint a mask";
    this.dispatchEvent(new Event("change"));
  }
}

export const init = new Init();

/** A file as {data, width, height}; one too large for the server is made smaller. Throws where it is no picture. */
export async function readPicture(file) {
  const pixels = await createImageBitmap(file);
  const { width, height } = pixels;
  if (file.size <= BYTES && width * height <= 16e6) return { data: await asData(file), width, height };
  const canvas = new OffscreenCanvas(...fitting(width, height));
  canvas.getContext("2d").drawImage(pixels, 0, 0, canvas.width, canvas.height);
  const smaller = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
  return { data: await asData(smaller), width: canvas.width, height: canvas.height };
}

function fitting(width, height) {
  const scale = Math.min(1, SIDE / Math.max(width, height));
  return [Math.round(width * scale), Math.round(height * scale)];
}

/** A file as a data: address. */
export function asData(file) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => failed(reader.error);
    reader.readAsDataURL(file);
  });
}
