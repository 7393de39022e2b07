/** Pictures of the server as elements, also where a token keeps plain addresses from working. */

import { call, pause } from "./api.js";
import { make, tell } from "./elements.js";
import { token } from "./gate.js";

const WAITS = [1000, 4000, 15000, 0]; // ms after each time that a picture did not come
const held = new Map(); // address on the server -> address of what was fetched

/** Whether single pixels are to be seen: such a picture is enlarged without blur. */
export const isSmall = ({ width, height }) => Math.max(width, height) <= 128;

/** Let an element show a finished picture. One that does not come is asked for again, then that is said. */
export async function show(image, { url, ...size }) {
  image.dataset.url = url;
  image.classList.toggle("pixels", isSmall(size));
  for (const wait of WAITS) {
    if (await comes(image, url)) return;
    await pause(wait);
    if (image.dataset.url !== url || !image.isConnected) return;
  }
  tell("A picture did not come. Is the server still running?");
}

/** The promise never ends where the element shows another picture meanwhile. */
function comes(image, url) {
  return new Promise((done) => {
    Object.assign(image, { onload: () => done(true), onerror: () => done(false) });
    (token() ? fetched(url) : Promise.resolve(url)).then((address) => {
      if (image.dataset.url === url) image.src = address;
    }, image.onerror);
  });
}

/** The file itself. */
export async function blobOf(url) {
  return (await call(url)).blob();
}

function fetched(url) {
  if (!held.has(url)) held.set(url, blobOf(url).then(URL.createObjectURL));
  held.get(url).catch(() => held.delete(url));
  return held.get(url);
}

/** Free what was fetched of a picture that is no more. */
export function release(url) {
  held.get(url)?.then(URL.revokeObjectURL, () => {});
  held.delete(url);
}

export async function download({ url, seed }, prompt) {
  const address = URL.createObjectURL(await blobOf(url));
  const words = prompt.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? ["picture"];
  make("a", { href: address, download: `${words.slice(0, 8).join("-").slice(0, 60)}-${seed}.png` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}
