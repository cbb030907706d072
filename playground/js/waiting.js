// What the reader sees while something is fetched, and when it could not be: a sentence, and a button to try again.

/** Fetch something and say so meanwhile. If it fails, the reader can try again, as often as is needed.
 * @template T
 * @param {HTMLElement} element where the message is shown; it is emptied afterwards
 * @param {string} what the words for what is fetched, as in "the figures"
 * @param {() => Promise<T>} load
 * @returns {Promise<T>} the value, after all tries */
export async function shown(element, what, load) {
  for (;;) {
    element.replaceChildren(paragraph("waiting", `Loading ${what} …`));
    try {
      const value = await load();
      element.replaceChildren();
      return value;
    } catch (error) {
      await again(element, what, error);
    }
  }
}

function again(element, what, error) {
  const alert = paragraph("problem", `Loading ${what} did not work: ${error.message} `);
  alert.setAttribute("role", "alert");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Try again";
  alert.append(button);
  element.replaceChildren(alert);
  return new Promise((resolve) => button.addEventListener("click", resolve, { once: true }));
}

function paragraph(name, text) {
  const made = document.createElement("p");
  made.className = name;
  made.textContent = text;
  return made;
}
