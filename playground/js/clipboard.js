// Copying for the reader, where the browser allows it.

/** Copy a text and say so.
 * @param {string} text @param {HTMLElement} said where it is said
 * @param {() => string} instead what is said where the browser does not allow it, or has no clipboard: the address is unsafe */
export async function copyText(text, said, instead) {
  try {
    await navigator.clipboard.writeText(text);
    said.textContent = "Copied.";
  } catch {
    said.textContent = `The browser does not allow it. ${instead()}`;
  }
}
