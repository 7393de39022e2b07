/** Pictures of the server as elements, also where a token keeps plain addresses from working. */

import { call } from "./api.js";
import { token } from "./gate.js";

const held = new Map(); // address on the server -> address of what was fetched

/** Let an element show a picture of the server. */
export async function show(image, url) {
  image.dataset.url = url;
  const address = token() ? await fetched(url) : url;
  if (image.dataset.url === url) image.src = address;
}

/** The file itself. */
export async function blobOf(url) {
  return (await call(url)).blob();
}

function fetched(url) {
  if (!held.has(url)) held.set(url, blobOf(url).then(URL.createObjectURL));
  return held.get(url);
}

/** Whether single pixels are to be seen: such a picture is enlarged without blur. */
export const isSmall = ({ width, height }) => Math.max(width, height) <= 128;

export async function download({ url, seed }, prompt) {
  const address = URL.createObjectURL(await blobOf(url));
  const words = prompt.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? ["picture"];
  const link = Object.assign(document.createElement("a"), {
    href: address,
    download: `${words.slice(0, 8).join("-").slice(0, 60)}-${seed}.png`,
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}
