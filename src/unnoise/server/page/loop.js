/** The loop as one equation: the sample = alpha x the predicted picture + sigma x the noise residual, at one step. */

import { drawChart, shares } from "./chart.js";
import { $, make } from "./elements.js";
import { looks, shownAt } from "./kept.js";

const panels = [...document.querySelectorAll(".panel")];

const chartKind = () => ($("chart-snr").checked ? "log_snr" : "sigma");

/** Show the steps of a run, looking at the one with this index. small: pictures whose single pixels are to be seen. */
export function drawLoop(steps, index, small) {
  const here = steps.findLast((step) => step.index <= index) ?? steps[0];
  drawEquation(here, shownAt(steps, index), small);
  drawChart($("chart"), steps, here.steps, here.index, chartKind());
  $("level").replaceChildren(...legend(here));
  const seen = looks(steps);
  Object.assign($("step"), { max: seen.length, value: seen.filter((step) => step.index <= index).length });
  $("step").setAttribute("aria-valuetext", `step ${here.index} of ${here.steps}, noise level ${short(here.sigma)}`);
}

function legend({ sigma, alpha, log_snr }) {
  if (chartKind() === "log_snr") return [`log SNR = ${short(log_snr ?? -Infinity)}`];
  const [noise, picture] = [`σ = ${short(sigma)}`, `α = ${short(alpha)}`];
  return [make("span", { className: "noise" }, noise), " ", make("span", { className: "signal" }, picture)];
}

/**
 * The factors belong to the step whose pictures are shown. The sample is shown divided by the root of α² + σ², which
 * gives it a picture's spread at every level, so the factors of the pictures beside it are the shares.
 */
function drawEquation(here, shown, small) {
  const { noise, picture } = shares(shown ?? here);
  [$("alpha").textContent, $("sigma").textContent] = [short(picture), short(noise)];
  for (const panel of panels) {
    const address = shown?.previews[panel.dataset.of];
    const image = panel.querySelector("img");
    panel.classList.toggle("blank", !address);
    image.classList.toggle("pixels", small);
    if (address) image.src = address;
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
