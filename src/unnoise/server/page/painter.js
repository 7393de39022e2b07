/** The mask painted with a brush over the picture: strokes are kept, so that each can be taken back. */

import { $ } from "./elements.js";
import { init } from "./init.js";
import { isSmall } from "./pictures.js";

const COLOUR = "#ff6a1a"; // only the shape leaves the page, as white on black
const COLOURED = { inside: [255, 106, 26, 255], outside: [0, 0, 0, 0] };
const MASK = { inside: [255, 255, 255, 255], outside: [0, 0, 0, 255] };
const canvas = $("canvas");
const pen = canvas.getContext("2d", { willReadFrequently: true });
let strokes = []; // {points: [[x, y], ...], width, erase}, in pixels of the picture
let ground = null; // what they are painted on: a mask that came with the picture, in our colours
let painted = {}; // the picture that they belong to, and the mask that they made of it
let drawn = null; // the stroke below the pointer, until it is let go or taken back
let at = [0, 0];

export function setUpPainter() {
  $("paint").addEventListener("click", open);
  $("undo").addEventListener("click", undo);
  $("clear").addEventListener("click", () => {
    ground = null;
    draw([]);
  });
  $("erase").addEventListener("click", toggleErase);
  $("painted").addEventListener("click", finish);
  canvas.addEventListener("pointerdown", begin);
  canvas.addEventListener("pointermove", ({ clientX, clientY, pointerId }) => {
    moveTo(place(clientX, clientY));
    if (drawn && canvas.hasPointerCapture(pointerId)) extend();
  });
  canvas.addEventListener("keydown", key);
  $("brush-size").addEventListener("input", showBrush);
}

async function open() {
  const { picture, mask } = init;
  const { data, width, height } = picture;
  Object.assign(canvas, { width, height });
  if (painted.data !== data || painted.mask !== mask) {
    [strokes, painted] = [[], { data, mask }];
    ground = mask && (await coloured(mask));
  }
  $("easel-picture").src = data;
  $("easel").classList.toggle("pixels", isSmall(picture));
  $("easel").style.aspectRatio = `${width} / ${height}`;
  $("easel").style.setProperty("--ratio", width / height);
  draw(strokes);
  $("painter").showModal();
  moveTo([Math.floor(width / 2) + 0.5, Math.floor(height / 2) + 0.5]); // the middle of a pixel
  canvas.focus();
}

/** A mask, white on black, as what is painted. */
async function coloured(mask) {
  const image = new Image();
  image.src = mask;
  await image.decode();
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  const pixels = pen.getImageData(0, 0, canvas.width, canvas.height);
  return recoloured(pixels, 0, COLOURED);
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
  if (event.button || !event.isPrimary) return;
  canvas.setPointerCapture(event.pointerId);
  moveTo(place(event.clientX, event.clientY));
  drawn = dab();
}

function dab() {
  strokes = [...strokes, { points: [at], width: brushWidth(), erase: erases() }];
  stroke(strokes.at(-1));
  return strokes.at(-1);
}

function extend() {
  drawn.points.push(at);
  stroke({ ...drawn, points: drawn.points.slice(-2) });
}

function undo() {
  draw(strokes.slice(0, -1));
}

function draw(kept) {
  [strokes, drawn] = [kept, null];
  pen.clearRect(0, 0, canvas.width, canvas.height);
  if (ground) pen.putImageData(ground, 0, 0);
  strokes.forEach(stroke);
}

function stroke({ points, width, erase }) {
  pen.globalCompositeOperation = erase ? "destination-out" : "source-over";
  Object.assign(pen, { strokeStyle: COLOUR, fillStyle: COLOUR, lineWidth: width, lineCap: "round", lineJoin: "round" });
  pen.beginPath();
  pen.arc(...points[0], width / 2, 0, 2 * Math.PI); // a line of one point leaves no trace
  pen.fill();
  pen.beginPath();
  for (const point of points) pen.lineTo(...point);
  pen.stroke();
  if (isSmall(canvas)) pen.putImageData(sharpened(COLOURED), 0, 0);
}

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
  else if (event.key === "z" && (event.ctrlKey || event.metaKey)) undo();
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
  painted.mask = anything ? asPng(mask) : null;
  init.setMask(painted.mask);
  $("painter").close();
}

/** What is painted with nothing between inside and outside: of a small picture one sees which pixels are meant. */
function sharpened(colours) {
  return recoloured(pen.getImageData(0, 0, canvas.width, canvas.height), 3, colours);
}

/**
 * Pixels in two colours (red, green, blue, alpha), by whether one of their channels is above the middle. Soft borders
 * are what "feather" is for.
 */
function recoloured(image, channel, { inside, outside }) {
  const { data } = image;
  for (let at = 0; at < data.length; at += 4) data.set(data[at + channel] > 127 ? inside : outside, at);
  return image;
}

function asPng(image) {
  const sheet = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
  sheet.getContext("2d").putImageData(image, 0, 0);
  return sheet.toDataURL("image/png");
}
