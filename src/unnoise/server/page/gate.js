/** The token, where the server wants one: asked for once, kept for this tab alone. */

import { $ } from "./elements.js";
import { remember, remembered } from "./memory.js";

const PLACE = "unnoise-token";
const KEPT = "It was set where the server was started. It is kept until this tab is closed.";
let answer = null; // one dialog serves all requests that were refused meanwhile

export const token = () => remembered("sessionStorage", PLACE);

/** Ask for the token; the promise ends when one was given. */
export function askForToken() {
  answer ??= new Promise((done) => {
    const gate = $("gate");
    $("gate-told").textContent = token() === null ? KEPT : "This token is not the server's.";
    gate.onclose = () => {
      remember("sessionStorage", PLACE, $("token").value);
      $("token").value = "";
      answer = null;
      done();
    };
    gate.showModal();
  });
  return answer;
}
