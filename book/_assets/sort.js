// A click on a heading of a sortable table orders its rows, by the number that a cell begins with or by its text.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("table.sortable"))
    table.querySelectorAll("thead th").forEach((heading, column) => {
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
});
