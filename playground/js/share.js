// A button that copies the address of the page with what is set now.

import { toHash } from "./address.js";

/** @param {HTMLElement} element @param {ReturnType<typeof import("./store.js").makeStore>} store */
export function mount(element, store) {
  element.innerHTML = `<button type="button">Copy link</button> <span class="fine" role="status"></span>`;
  const [button, said] = ["button", "span"].map((name) => element.querySelector(name));
  button.addEventListener("click", async () => {
    const link = new URL(location.href);
    link.hash = toHash(store.get());
    try {
      await navigator.clipboard.writeText(link.href); // there is no clipboard where the page comes from an unsafe address
      said.textContent = "Copied.";
    } catch {
      said.textContent = "The browser does not allow it. Copy it from the address bar.";
    }
  });
  store.subscribe(["counts", "test", "open", "seeds", "t", "schedule", "draw"], () => (said.textContent = ""));
}
