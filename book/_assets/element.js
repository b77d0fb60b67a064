// An element of the page with its properties, and attributes where it has no such property: for the scripts that come after.
"use strict";

window.atReproElement = (name, properties, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made && key !== "style") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
};
