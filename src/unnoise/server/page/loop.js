/** The loop as one equation: the sample = alpha x the predicted picture + sigma x the noise residual, at one step. */

import { drawChart } from "./chart.js";
import { $ } from "./elements.js";
import { shownAt } from "./kept.js";

const panels = [...document.querySelectorAll(".panel")];

export const chartKind = () => ($("chart-snr").checked ? "log_snr" : "sigma");

/** Show the steps of a run, looking at the one with this index. small: pictures whose single pixels are to be seen. */
export function drawLoop(steps, index, small) {
  const here = steps.findLast((step) => step.index <= index) ?? steps[0];
  drawEquation(here, shownAt(steps, index), small);
  drawChart($("chart"), steps, here.steps, here.index, chartKind());
  $("level").textContent =
    chartKind() === "sigma" ? `σ = ${short(here.sigma)}` : `log SNR = ${short(here.log_snr ?? Infinity)}`;
  Object.assign($("step"), { max: here.steps, value: here.index });
  $("step").setAttribute("aria-valuetext", `step ${here.index} of ${here.steps}, noise level ${short(here.sigma)}`);
}

/** The factors are those of the step whose pictures are shown, so that the equation holds. */
function drawEquation(here, shown, small) {
  $("alpha").textContent = short((shown ?? here).alpha);
  $("sigma").textContent = short((shown ?? here).sigma);
  for (const panel of panels) {
    const picture = shown?.previews[panel.dataset.of];
    const image = panel.querySelector("img");
    panel.classList.toggle("blank", !picture);
    image.classList.toggle("pixels", small);
    if (picture) image.src = picture;
  }
}

/** Let a panel be looked at large; `chosen` is told which. */
export function choosePanels(chosen) {
  for (const panel of panels) {
    panel.addEventListener("click", () => {
      for (const each of panels) each.setAttribute("aria-pressed", String(each === panel));
      chosen(panel.dataset.of);
    });
  }
}

/** Three digits, with a true minus sign. */
function short(value) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const digits = Math.abs(value) >= 99.5 ? 0 : Math.abs(value) >= 9.95 ? 1 : 2;
  return value.toFixed(digits).replace("-", "−");
}
