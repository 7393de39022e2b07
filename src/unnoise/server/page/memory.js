/** Texts that outlive the page. A browser that keeps none, since site data are blocked or fill it, loses them with it. */

const here = new Map();

/** where: "localStorage" for all tabs, "sessionStorage" for this one. */
export function remember(where, name, text) {
  here.set(name, text);
  try {
    window[where].setItem(name, text);
  } catch {} // it is in `here`
}

/** Null where there is none. */
export function remembered(where, name) {
  try {
    return window[where].getItem(name);
  } catch {
    return here.get(name) ?? null;
  }
}
