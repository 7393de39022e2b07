/** The token, where the server wants one: asked for once, kept for this tab alone. */

import { $ } from "./elements.js";

const PLACE = "unnoise-token";
let answer = null; // one dialog serves all requests that were refused meanwhile

export const token = () => sessionStorage.getItem(PLACE);

/** Ask for the token; the promise ends when one was given. */
export function askForToken() {
  answer ??= new Promise((done) => {
    const gate = $("gate");
    gate.addEventListener("cancel", (event) => event.preventDefault());
    gate.addEventListener(
      "close",
      () => {
        sessionStorage.setItem(PLACE, $("token").value);
        $("token").value = "";
        answer = null;
        done();
      },
      { once: true },
    );
    gate.showModal();
  });
  return answer;
}
