// Builds elements; text is only ever set as text, never as markup.

/** `element("p", {class: "quiet"}, "words", child)` */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== undefined && value !== null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null && child !== false));
  return made;
}

/** The text and the `code` of a line. */
export function line(text) {
  return (text ?? "").split("`").map((piece, index) => (index % 2 ? element("code", {}, piece) : piece));
}

/** Paragraphs and `code` of a description. */
export function prose(text) {
  return (text ?? "")
    .split(/\n\s*\n/)
    .filter((part) => part.trim())
    .map((part) => element("p", {}, ...line(part)));
}
