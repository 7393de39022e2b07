/** The mask painted with a brush over the picture: strokes are kept, so that each can be taken back. */

import { $ } from "./elements.js";
import { init } from "./init.js";

const COLOUR = "#ff6a1a"; // only the shape leaves the page, as white on black
const COLOURED = { inside: [255, 106, 26, 255], outside: [0, 0, 0, 0] };
const MASK = { inside: [255, 255, 255, 255], outside: [0, 0, 0, 255] };
const canvas = $("canvas");
const pen = canvas.getContext("2d", { willReadFrequently: true });
let strokes = []; // {points: [[x, y], ...], width, erase}, in pixels of the picture
let painted = null; // the picture that they belong to
let at = [0, 0];

export function setUpPainter() {
  $("paint").addEventListener("click", open);
  $("undo").addEventListener("click", () => draw(strokes.slice(0, -1)));
  $("clear").addEventListener("click", () => draw([]));
  $("erase").addEventListener("click", toggleErase);
  $("painted").addEventListener("click", finish);
  canvas.addEventListener("pointerdown", begin);
  canvas.addEventListener("pointermove", ({ clientX, clientY, buttons }) => {
    moveTo(place(clientX, clientY));
    if (buttons) extend();
  });
  canvas.addEventListener("keydown", key);
  $("brush-size").addEventListener("input", showBrush);
}

function open() {
  const { data, width, height } = init.picture;
  if (painted !== data) [strokes, painted] = [[], data];
  Object.assign(canvas, { width, height });
  $("easel-picture").src = data;
  $("easel").classList.toggle("pixels", width <= 128);
  $("easel").style.aspectRatio = `${width} / ${height}`;
  $("easel").style.setProperty("--ratio", width / height);
  draw(strokes);
  $("painter").showModal();
  moveTo([Math.floor(width / 2) + 0.5, Math.floor(height / 2) + 0.5]); // the middle of a pixel
  canvas.focus();
}

/** From a place on the screen to one in the picture. */
function place(x, y) {
  const box = canvas.getBoundingClientRect();
  return [((x - box.left) / box.width) * canvas.width, ((y - box.top) / box.height) * canvas.height];
}

/** The brush's width in pixels of the picture, up to its shorter side, and finely graded where it is small. */
function brushWidth() {
  const share = Number($("brush-size").value) / 100;
  return Math.max(1, share ** 1.5 * Math.min(canvas.width, canvas.height));
}

function begin(event) {
  canvas.setPointerCapture(event.pointerId);
  moveTo(place(event.clientX, event.clientY));
  dab();
}

function dab() {
  strokes = [...strokes, { points: [at], width: brushWidth(), erase: erases() }];
  stroke(strokes.at(-1));
}

function extend() {
  strokes.at(-1).points.push(at);
  stroke({ ...strokes.at(-1), points: strokes.at(-1).points.slice(-2) });
}

function draw(kept) {
  strokes = kept;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  strokes.forEach(stroke);
}

function stroke({ points, width, erase }) {
  pen.globalCompositeOperation = erase ? "destination-out" : "source-over";
  Object.assign(pen, { strokeStyle: COLOUR, lineWidth: width, lineCap: "round", lineJoin: "round" });
  pen.beginPath();
  pen.moveTo(...points[0]);
  for (const point of points) pen.lineTo(...point);
  pen.stroke();
  if (small()) pen.putImageData(sharpened(COLOURED), 0, 0);
}

const small = () => Math.max(canvas.width, canvas.height) <= 128;

const erases = () => $("erase").getAttribute("aria-pressed") === "true";

function toggleErase() {
  $("erase").setAttribute("aria-pressed", String(!erases()));
}

/** The mask without a mouse. */
function key(event) {
  const far = Math.max(1, brushWidth() / 2);
  const turn = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] }[event.key];
  if (turn) {
    moveTo([clamp(at[0] + turn[0], canvas.width), clamp(at[1] + turn[1], canvas.height)]);
    if (event.shiftKey) dab();
  } else if (event.key === " ") dab();
  else if (event.key.toLowerCase() === "e") toggleErase();
  else if (event.key === "z" && (event.ctrlKey || event.metaKey)) draw(strokes.slice(0, -1));
  else return;
  event.preventDefault();
}

const clamp = (value, most) => Math.max(0, Math.min(value, most));

function moveTo(point) {
  at = point;
  showBrush();
}

function showBrush() {
  const shown = canvas.clientWidth / canvas.width;
  const { style } = $("brush");
  style.width = style.height = `${brushWidth() * shown}px`;
  style.left = `${at[0] * shown}px`;
  style.top = `${at[1] * shown}px`;
}

function finish() {
  const mask = sharpened(MASK);
  const anything = mask.data.some((value, at) => at % 4 === 0 && value === 255);
  init.setMask(anything ? asPng(mask) : null);
  $("painter").close();
}

/**
 * What is painted with nothing between inside and outside, in these colours (red, green, blue, alpha). Soft borders are
 * what "feather" is for; and of a small picture one sees which pixels are meant.
 */
function sharpened({ inside, outside }) {
  const image = pen.getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 0; at < image.data.length; at += 4) image.data.set(image.data[at + 3] > 127 ? inside : outside, at);
  return image;
}

function asPng(image) {
  const sheet = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
  sheet.getContext("2d").putImageData(image, 0, 0);
  return sheet.toDataURL("image/png");
}
