/** The chart of the noise level along the steps, with the place that is looked at. */

const SPACE = "http://www.w3.org/2000/svg";
const BOX = { left: 26, right: 386, top: 10, bottom: 108 };

/** steps: those seen, in order; total: all of the run; at: the index that is looked at; kind: "sigma" or "log_snr". */
export function drawChart(svg, steps, total, at, kind) {
  const lines = kind === "sigma" ? levels(steps) : [signalToNoise(steps)];
  const [low, high] = kind === "sigma" ? [0, 1] : bounds(lines[0].values);
  const x = (index) => BOX.left + ((index - 1) / Math.max(1, total - 1)) * (BOX.right - BOX.left);
  const y = (value) => BOX.bottom - ((value - low) / (high - low)) * (BOX.bottom - BOX.top);
  const parts = [...frame(x, y, [low, high], total), ...lines.flatMap((line) => curve(line, steps, x, y))];
  svg.replaceChildren(...parts, ...place(lines, steps, at, x, y));
  svg.setAttribute("aria-label", described(steps, total, at));
}

/** The step below a pointer, as a share of the chart's width from 0 to 1. */
export function stepAt(share, total) {
  const inner = (share * 400 - BOX.left) / (BOX.right - BOX.left);
  return Math.round(1 + Math.max(0, Math.min(1, inner)) * (total - 1));
}

/** sigma and alpha scaled to a unit sum of squares, so that every kind of noise schedule fits one chart. */
function levels(steps) {
  const scale = steps.map(({ sigma, alpha }) => Math.hypot(sigma, alpha) || 1);
  return [
    { name: "noise", className: "noise", area: true, values: steps.map(({ sigma }, place) => sigma / scale[place]) },
    { name: "picture", className: "signal", values: steps.map(({ alpha }, place) => alpha / scale[place]) },
  ];
}

/** Kept within what e^±12 says: the first level may hold no signal and the last no noise at all. */
function signalToNoise(steps) {
  const values = steps.map(({ log_snr }) => Math.max(-12, Math.min(12, log_snr ?? 12)));
  return { name: "log SNR", className: "ink", values };
}

function bounds(values) {
  return [Math.min(-4, Math.floor(Math.min(...values))), Math.max(4, Math.ceil(Math.max(...values)))];
}

function frame(x, y, [low, high], total) {
  const ticks = low < 0 ? [low, 0, high] : [low, high];
  return [
    ...ticks.flatMap((value) => [
      shape("line", { class: "rule", x1: BOX.left, x2: BOX.right, y1: y(value), y2: y(value) }),
      text(String(value).replace("-", "−"), { x: BOX.left - 6, y: y(value) + 4, "text-anchor": "end" }),
    ]),
    text("step 1", { x: x(1), y: 126 }),
    text(total > 1 ? String(total) : "", { x: x(total), y: 126, "text-anchor": "end" }),
  ];
}

function curve({ name, className, area, values }, steps, x, y) {
  const points = steps.map(({ index }, place) => `${x(index)},${y(values[place])}`);
  const [first, last] = [x(steps[0].index), x(steps.at(-1).index)];
  const under = `M${first},${y(0)}L${points.join("L")}L${last},${y(0)}Z`;
  const [atX, atY] = [x(steps[0].index) + 6, y(values[0])];
  return [
    ...(area ? [shape("path", { class: `under ${className}`, d: under })] : []),
    shape("polyline", { class: `curve ${className}`, points: points.join(" ") }),
    text(name, { class: `name ${className}`, x: atX, y: atY + (atY < 60 ? 14 : -6) }),
  ];
}

function place(lines, steps, at, x, y) {
  const here = steps.findIndex(({ index }) => index === at);
  if (here < 0) return [];
  return [
    shape("line", { class: "here", x1: x(at), x2: x(at), y1: BOX.top, y2: BOX.bottom }),
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
