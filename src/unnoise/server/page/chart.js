/** The chart of the noise level along the steps, with the place that is looked at. */

const SPACE = "http://www.w3.org/2000/svg";
const EDGE = { left: 26, right: 10, top: 8, bottom: 22 }; // room for the numbers and the dots
const HEIGHT = 130;

/** How much of the sample is noise and how much picture: sigma and alpha, scaled to a unit sum of squares. */
export function shares({ sigma, alpha }) {
  const whole = Math.hypot(sigma, alpha) || 1;
  return { noise: sigma / whole, picture: alpha / whole };
}

/** steps: those seen, in order; total: all of the run; at: the index that is looked at; kind: "sigma" or "log_snr". */
export function drawChart(svg, steps, total, at, kind) {
  const width = svg.clientWidth || 400;
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  const lines = kind === "sigma" ? levels(steps) : [signalToNoise(steps)];
  const [low, high] = kind === "sigma" ? [0, 1] : bounds(lines[0].values);
  const span = width - EDGE.left - EDGE.right;
  const tall = HEIGHT - EDGE.top - EDGE.bottom;
  const x = (index) => EDGE.left + ((index - 1) / Math.max(1, total - 1)) * span;
  const y = (value) => EDGE.top + ((high - value) / (high - low)) * tall;
  const parts = [...frame(x, y, [low, high], total), ...lines.flatMap((line) => curve(line, steps, x, y))];
  svg.replaceChildren(...parts, ...place(lines, steps, at, x, y, [low, high]));
  svg.setAttribute("aria-label", described(steps, total, at));
}

/** The step below a pointer that is so many pixels into a chart of this width. */
export function stepAt(offset, width, total) {
  const share = (offset - EDGE.left) / (width - EDGE.left - EDGE.right);
  return Math.round(1 + Math.max(0, Math.min(1, share)) * (total - 1));
}

function levels(steps) {
  const values = steps.map(shares);
  return [
    { className: "noise", area: true, values: values.map(({ noise }) => noise) },
    { className: "signal", values: values.map(({ picture }) => picture) },
  ];
}

/** Kept within what e^±12 says: the first level may hold no signal and the last no noise at all. */
function signalToNoise(steps) {
  const values = steps.map(({ log_snr }) => Math.max(-12, Math.min(12, log_snr ?? -12)));
  return { className: "ink", values };
}

function bounds(values) {
  return [Math.min(-4, Math.floor(Math.min(...values))), Math.max(4, Math.ceil(Math.max(...values)))];
}

function frame(x, y, [low, high], total) {
  const ticks = low < 0 ? [low, 0, high] : [low, high];
  return [
    ...ticks.flatMap((value) => [
      shape("line", { class: "rule", x1: x(1), x2: x(total), y1: y(value), y2: y(value) }),
      text(String(value).replace("-", "−"), { x: x(1) - 6, y: y(value) + 4, "text-anchor": "end" }),
    ]),
    text("step 1", { x: x(1), y: HEIGHT - 4 }),
    text(total > 1 ? String(total) : "", { x: x(total), y: HEIGHT - 4, "text-anchor": "end" }),
  ];
}

function curve({ className, area, values }, steps, x, y) {
  const points = steps.map(({ index }, place) => `${x(index)},${y(values[place])}`);
  const [first, last] = [x(steps[0].index), x(steps.at(-1).index)];
  const under = `M${first},${y(0)}L${points.join("L")}L${last},${y(0)}Z`;
  return [
    ...(area ? [shape("path", { class: `under ${className}`, d: under })] : []),
    shape("polyline", { class: `curve ${className}`, points: points.join(" ") }),
  ];
}

function place(lines, steps, at, x, y, [low, high]) {
  const here = steps.findIndex(({ index }) => index === at);
  if (here < 0) return [];
  return [
    shape("line", { class: "here", x1: x(at), x2: x(at), y1: y(high), y2: y(low) }),
    ...lines.map(({ className, values }) =>
      shape("circle", { class: `dot ${className}`, cx: x(at), cy: y(values[here]), r: 4.5 }),
    ),
  ];
}

function described(steps, total, at) {
  const here = steps.find(({ index }) => index === at);
  return here ? `Step ${at} of ${total}: noise level sigma ${here.sigma.toFixed(3)}` : "Noise level at each step";
}

function shape(tag, attributes) {
  const element = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function text(words, attributes) {
  const element = shape("text", attributes);
  element.textContent = words;
  return element;
}
