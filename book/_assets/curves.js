// Draws curves again so that readers switch them by their label, and read the values at the pointer.
// The picture that a notebook drew stays for paper and for who reads without scripts.
document.addEventListener("DOMContentLoaded", () => {
  const HOW_TO_READ = "Point at a curve to read its values, or use the arrow keys, Home and End.";
  const element = window.atReproElement;
  const [WIDTH, HEIGHT, LEFT, TOP, BOTTOM] = [360, 280, 34, 24, 40];
  const [LETTER, LINE] = [6.5, 13]; // the room that a label takes

  const make = (name, attributes, ...children) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };

  const scale = ({limits: [low, high], logarithmic}, from, to) => {
    const of = logarithmic ? Math.log : Number;
    return (value) => from + ((of(value) - of(low)) / (of(high) - of(low))) * (to - from);
  };

  const text = (x, y, anchor, words) => make("text", {x, y, "text-anchor": anchor}, words);

  // Places near these heights, which rise, that are a line apart: the mean of those that would cover each other.
  const apart = (heights) => {
    const groups = [];
    heights.forEach((height, place) => {
      let [sum, count] = [height - place * LINE, 1];
      while (groups.length && groups.at(-1)[0] / groups.at(-1)[1] > sum / count) {
        const [before, more] = groups.pop();
        [sum, count] = [sum + before, count + more];
      }
      groups.push([sum, count]);
    });
    return groups.flatMap(([sum, count]) => Array(count).fill(sum / count)).map((mean, place) => mean + place * LINE);
  };

  // One panel; `off` are the labels that are switched off, `say` shows values, `alt` says what the picture does. Returns
  // the drawing and how to draw anew.
  const draw = (panel, number, off, say, alt) => {
    const full = panel.lines.filter((line) => !line.dashed && line.x.length);
    const [right, bottom] = [WIDTH - 16 - LETTER * Math.max(...full.map((line) => line.label.length)), HEIGHT - BOTTOM];
    const [x, y] = [scale(panel.x, LEFT, right), scale(panel.y, bottom, TOP)];
    const clip = `curves-${number}-${Math.random().toString(36).slice(2)}`;
    const names = make("g", {class: "curves-names"});
    const pointer = make("line", {y1: TOP, y2: bottom, class: "curves-pointer", visibility: "hidden"});
    const points = (shape) => shape.x.map((value, place) => `${x(value)},${y(shape.y[place])}`).join(" ");
    const bands = panel.bands.map((band) => make("polygon", {points: points(band), fill: band.colour, "fill-opacity": 0.2}));
    const paths = panel.lines.map((line) => make("polyline", {
      points: points(line), stroke: line.colour, "stroke-width": line.dashed ? 1 : 1.8, "stroke-dasharray": line.dashed ? "4 3" : "none",
    }));
    const name = [panel.y.label, panel.title].filter(Boolean).join(": ");
    const picture = make("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`, tabindex: 0,
      role: "slider", "aria-label": `${name}. ${alt}`, // of a picture screen readers would keep the keys for themselves
      "aria-valuemin": panel.x.limits[0], "aria-valuemax": panel.x.limits[1], "aria-valuenow": panel.x.limits[0],
      "aria-valuetext": HOW_TO_READ,
    },
      make("clipPath", {id: clip}, make("rect", {x: LEFT, y: TOP, width: right - LEFT, height: bottom - TOP})),
      ...panel.x.ticks.map((tick) => text(x(tick), bottom + 14, "middle", tick)),
      ...panel.y.ticks.map((tick) => text(LEFT - 5, y(tick) + 4, "end", tick)),
      ...panel.y.ticks.map((tick) => make("line", {x1: LEFT, x2: right, y1: y(tick), y2: y(tick), class: "curves-grid"})),
      text((LEFT + right) / 2, HEIGHT - 8, "middle", panel.x.label), text(LEFT, 14, "start", name),
      make("g", {fill: "none", "clip-path": `url(#${clip})`}, ...bands, ...paths), names, pointer);
    let current; // the value whose column is told
    const all = () => [...new Set(panel.lines.filter((line) => !off.has(line.label)).flatMap((line) => line.x))].sort((one, other) => one - other);
    const tell = (value) => {
      current = value;
      for (const name of ["x1", "x2"]) pointer.setAttribute(name, x(value));
      for (const other of picture.parentElement.querySelectorAll(".curves-pointer")) other.setAttribute("visibility", "hidden");
      pointer.setAttribute("visibility", "visible");
      picture.setAttribute("aria-valuenow", value);
      picture.setAttribute("aria-valuetext", `${panel.x.label} ${value}`);
      say(`${panel.x.label} ${value}`, panel.lines
        .filter((line) => !off.has(line.label) && line.x.includes(value))
        .map((line) => [line, line.y[line.x.indexOf(value)].toFixed(2)]));
    };
    const read = (event) => {
      const at = ((event.clientX - picture.getBoundingClientRect().left) / picture.clientWidth) * WIDTH;
      const values = all();
      if (values.length) tell(values.reduce((best, one) => (Math.abs(x(one) - at) < Math.abs(x(best) - at) ? one : best)));
    };
    picture.addEventListener("pointermove", read);
    picture.addEventListener("pointerdown", read);
    picture.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return; // the browser's own
      const key = {ArrowUp: "ArrowRight", ArrowDown: "ArrowLeft"}[event.key] ?? event.key;
      const next = {
        ArrowRight: () => all().find((value) => !(value <= current)),
        ArrowLeft: () => all().findLast((value) => !(value >= current)),
        Home: () => all()[0],
        End: () => all().at(-1),
      }[key]?.();
      if (next === undefined) return;
      event.preventDefault();
      tell(next);
    });
    const renew = () => {
      for (const [shapes, of] of [[bands, panel.bands], [paths, panel.lines]]) {
        shapes.forEach((shape, place) => { shape.style.display = off.has(of[place].label) ? "none" : ""; });
      }
      const named = full.filter((line) => !off.has(line.label)).sort((one, other) => other.y.at(-1) - one.y.at(-1));
      const places = apart(named.map((line) => y(line.y.at(-1))));
      names.replaceChildren(...named.flatMap(({label, colour, x: across, y: up}, place) => [
        make("line", {x1: x(across.at(-1)), y1: y(up.at(-1)), x2: right + 10, y2: places[place], stroke: colour, "stroke-width": 0.7, "stroke-dasharray": "1 2"}),
        text(right + 12, places[place] + 4, "start", label),
      ]));
    };
    renew();
    return [picture, renew];
  };

  for (const place of document.querySelectorAll(".curves")) {
    const [panels, off] = [JSON.parse(place.dataset.panels), new Set()];
    const figure = [...document.querySelectorAll("figure")]
      .filter((one) => one.compareDocumentPosition(place) & Node.DOCUMENT_POSITION_FOLLOWING).pop();
    if (!panels.length || !figure) continue;
    const values = element("p", {className: "curves-values", role: "status"}, HOW_TO_READ);
    const {alt} = figure.querySelector("img");
    const drawn = panels.map((panel, number) => draw(panel, number, off, (where, said) => {
      values.textContent = `${where}: ${said.map(([line, value]) => line.label + (line.dashed ? " (dashed) " : " ") + value).join(", ")}`;
    }, alt));
    const labels = [...new Map(panels.flatMap((panel) => panel.lines).map((line) => [line.label, line.colour]))];
    const switches = labels.map(([label, colour]) => {
      const box = element("input", {type: "checkbox", checked: true, style: `accent-color: ${colour}`});
      box.addEventListener("change", () => {
        off[box.checked ? "delete" : "add"](label);
        for (const [, renew] of drawn) renew();
        for (const pointer of place.querySelectorAll(".curves-pointer")) pointer.setAttribute("visibility", "hidden");
        values.textContent = HOW_TO_READ; // not what a line says that is off
      });
      return element("label", {}, box, ` ${label}`);
    });
    const cell = place.closest(".cell");
    const pictures = drawn.map(([picture]) => picture);
    place.append(element("div", {}, ...switches), ...pictures, values);
    figure.prepend(place);
    cell.remove(); // it held nothing else
    figure.classList.add("touchable");
  }
});
