// A click on a heading of a sortable table orders its rows, by the number that a cell begins with or by its text.
// A card that counts claims leads to those: its address names their verdict, and a button shows the others again.
document.addEventListener("DOMContentLoaded", () => {
  for (const link of document.querySelectorAll(".cards a[href$='claims.html']"))
    link.hash = new URLSearchParams({ verdict: link.closest(".sd-card").querySelector(".sd-card-title").textContent.replace(/^\s*\d+ /, "") });
  // Folded outputs all have one name, which hides what each of them says of itself.
  for (const fold of document.querySelectorAll("summary[aria-label]")) fold.removeAttribute("aria-label");
  addEventListener("hashchange", () => location.hash.startsWith("#verdict=") && location.reload());
  const verdict = new URLSearchParams(location.hash.slice(1)).get("verdict");
  for (const table of document.querySelectorAll("table.sortable")) {
    const others = [...table.tBodies].filter((body) => body.rows[0].cells[1].textContent !== verdict);
    if (others.length < table.tBodies.length) {
      const all = window.atReproElement("button", { type: "button" }, `Only what is ${verdict}: show the whole table`);
      all.addEventListener("click", () => {
        for (const body of others) body.hidden = false;
        history.replaceState(null, "", "#"); // else they are hidden again when the page is loaded again
        table.querySelector("thead button")?.focus({ preventScroll: true }); // else one begins anew at the top
        all.remove();
      });
      for (const body of others) body.hidden = true;
      table.before(all);
      all.scrollIntoView({ block: "center" }); // below the theme's bar
    }
    table.querySelectorAll("thead th").forEach((heading, column) => {
      heading.replaceChildren(window.atReproElement("button", { type: "button" }, heading.textContent));
      heading.addEventListener("click", () => {
        const down = heading.ariaSort === "ascending" ? -1 : 1;
        for (const other of table.querySelectorAll("thead th")) other.ariaSort = "none";
        heading.ariaSort = down === 1 ? "ascending" : "descending";
        const text = (body) => body.rows[0].cells[column].textContent;
        const order = (one, other) => {
          const [a, b] = [parseFloat(text(one)), parseFloat(text(other))];
          if (isNaN(a) !== isNaN(b)) return isNaN(a) - isNaN(b); // what has no number is last in either direction
          return down * (isNaN(a) ? text(one).localeCompare(text(other)) : a - b);
        };
        table.append(...[...table.tBodies].sort(order));
      });
    });
  }
});
