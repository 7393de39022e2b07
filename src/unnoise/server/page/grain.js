/** A still field of noise: what a run begins from, and what the page shows while there is no picture. */

import { $ } from "./elements.js";

export function drawGrain() {
  const canvas = $("grain");
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(canvas.width, canvas.height);
  for (let at = 0; at < image.data.length; at += 4) {
    const grey = 128 + 52 * gaussian();
    image.data.set([grey, grey, grey, 255], at);
  }
  pen.putImageData(image, 0, 0);
}

/** A draw from N(0, 1), by Box and Muller's transform. */
function gaussian() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}
