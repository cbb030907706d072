// A button that copies the address of the page with what is set now.

import { KEYS, toHash } from "./address.js";
import { copyText } from "./clipboard.js";

/** @param {HTMLElement} element @param {ReturnType<typeof import("./store.js").makeStore>} store */
export function mount(element, store) {
  element.innerHTML = `<button type="button">Copy link</button> <span class="fine" role="status"></span>`;
  const [button, said] = ["button", "span"].map((name) => element.querySelector(name));
  button.addEventListener("click", () => {
    const link = new URL(location.href);
    link.hash = toHash(store.get());
    copyText(link.href, said, () => "Copy it from the address bar.");
  });
  store.subscribe(KEYS, () => (said.textContent = ""));
}
