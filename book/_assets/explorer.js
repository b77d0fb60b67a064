// Draws the explorer from the data that `at_repro.report.explorer` put into the page. The view is kept in the page's address.
"use strict";

(() => {
  const element = window.atReproElement;
  const PANELS = ["left", "right"];
  const OVERLAY = 256; // pixels of the overlay's side

  document.addEventListener("DOMContentLoaded", () => {
    const root = document.querySelector(".explorer");
    if (root) explore(root);
  });

  function explore(root) {
    const data = JSON.parse(root.querySelector("script").textContent);
    const palette = data.colours.map((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));
    const loaded = new Map(); // canvases of sprites, by address: decoded when first needed
    const view = restored(data);

    const picker = element("fieldset", { className: "explorer-images" }, element("legend", {}, "image"));
    data.labels.forEach((label, index) => picker.append(thumbnail(index, `${data.classes[label]}, image ${index + 1}`)));
    const opacity = element("input", { type: "range", min: 0, max: 100, step: 5, value: view.opacity });
    opacity.addEventListener("input", () => show("opacity", Number(opacity.value)));
    opacity.addEventListener("change", () => set("opacity", Number(opacity.value)));
    const percent = element("output", {});
    const smooth = element("input", { type: "checkbox", checked: view.smooth });
    smooth.addEventListener("change", () => set("smooth", smooth.checked));
    const common = element(
      "div",
      { className: "explorer-common" },
      element("label", {}, "opacity of the map ", opacity, " ", percent),
      element("label", {}, smooth, " bicubic between positions (else nearest)"),
      element("span", {}, "no attention ", bar(data.colours), " the most in this map"),
    );
    const panels = PANELS.map((name) => panel(name));
    const difference = { canvas: element("canvas", { role: "img" }), said: element("figcaption", { "aria-live": "polite" }) };
    root.append(
      picker, common,
      element("div", { className: "explorer-panels" }, ...panels.map((each) => each.root)),
      element("figure", { className: "explorer-difference" }, difference.canvas, difference.said),
    );
    const isNamed = () => [...new URLSearchParams(location.hash.slice(1)).keys()].some((key) => key in view);
    window.addEventListener("hashchange", () => {
      if (!isNamed()) return; // a link within the page
      Object.assign(view, restored(data));
      draw();
      root.scrollIntoView();
    });
    draw();
    if (isNamed()) root.scrollIntoView(); // the address names no place of the page

    function set(name, value) {
      show(name, value);
      history.replaceState(null, "", "#" + new URLSearchParams(view));
    }

    function show(name, value) {
      view[name] = value;
      draw();
    }

    async function draw() {
      opacity.value = view.opacity;
      view.opacity = Number(opacity.value); // an address may name what the control cannot
      percent.value = `${view.opacity} %`;
      smooth.checked = view.smooth;
      const asked = String(new URLSearchParams(view));
      root.querySelectorAll(".explorer-images input")[view.image].checked = true;
      await Promise.all([...panels.map((each) => each.draw()), drawDifference()]);
      if (asked === String(new URLSearchParams(view))) root.dataset.drawn = asked;
    }

    function thumbnail(index, label) {
      const input = element("input", { type: "radio", name: "explorer-image", value: index });
      input.addEventListener("change", () => set("image", index));
      const canvas = element("canvas", { width: 32, height: 32 });
      sprite(data.images).then((all) => crop(canvas, all, index));
      return element("label", { title: label }, input, canvas, element("span", { className: "visually-hidden" }, label));
    }

    function panel(side) {
      const choices = { network: data.networks, level: data.levels, mapping: data.mappings };
      const selects = Object.entries(choices).map(([what, names]) => {
        const select = element("select", {}, ...names.map((name) => element("option", { value: name }, name)));
        select.addEventListener("change", () => set(`${side}-${what}`, select.value));
        return [what, select];
      });
      const canvases = ["image", "map", "overlay"].map((what) => element("canvas", { role: "img", title: what }));
      const said = element("p", { className: "explorer-said", "aria-live": "polite" });
      const own = element(
        "div",
        { className: "explorer-panel", role: "group", "aria-label": side },
        element("div", { className: "explorer-choices" },
          ...selects.map(([what, select]) => element("label", {}, `${what} `, select))),
        element("div", { className: "explorer-pictures" },
          ...canvases.map((canvas) => element("figure", {}, canvas, element("figcaption", {}, canvas.title)))),
        said,
      );
      return { root: own, draw: () => drawPanel(side, selects, canvases, said) };
    }

    async function drawPanel(side, selects, [image, map, overlay], said) {
      selects.forEach(([what, select]) => (select.value = view[`${side}-${what}`]));
      const [network, level, mapping] = ["network", "level", "mapping"].map((what) => view[`${side}-${what}`]);
      const [index, alpha, smoothed] = [view.image, view.opacity / 100, view.smooth];
      const asked = String(new URLSearchParams(view));
      const [all, maps] = await Promise.all([sprite(data.images), sprite(data.sprites[network][mapping][level])]);
      if (asked !== String(new URLSearchParams(view))) return; // the reader has gone on meanwhile
      const label = data.classes[data.labels[index]];
      crop(image, all, index);
      crop(map, maps, index);
      if (smoothed) bicubic(map, OVERLAY);
      colour(map);
      overlay.width = overlay.height = OVERLAY;
      const context = overlay.getContext("2d");
      context.imageSmoothingEnabled = false;
      context.drawImage(image, 0, 0, OVERLAY, OVERLAY);
      context.globalAlpha = alpha;
      context.drawImage(map, 0, 0, OVERLAY, OVERLAY);
      const positions = `${maps.height}x${maps.height} positions${smoothed ? ", interpolated bicubically" : ""}`;
      image.setAttribute("aria-label", `image of class ${label}`);
      map.setAttribute("aria-label", `attention of ${network} at the ${level} level, ${mapping}, ${positions}`);
      overlay.setAttribute("aria-label", `the map over the image of class ${label}`);
      const predicted = data.classes[data.predicted[network][index]];
      const address = new URLSearchParams(location.hash.slice(1));
      const absent = selects.map(([what]) => [what, address.get(`${side}-${what}`)])
        .filter(([what, named]) => named !== null && named !== view[`${side}-${what}`])
        .map(([what, named]) => `There is no ${what} "${named}" here. `);
      const sentence = `${absent.join("")}${positions}. This is of class ${label}; ${network} says ${predicted}.`;
      say(said, sentence);
    }

    // The left map minus the right one, each divided by its l2 norm, as in attention transfer.
    async function drawDifference() {
      const asked = String(new URLSearchParams(view));
      const chosen = PANELS.map((side) => ["network", "mapping", "level"].map((what) => view[`${side}-${what}`]));
      const sprites = await Promise.all(chosen.map(([network, mapping, level]) => sprite(data.sprites[network][mapping][level])));
      if (asked !== String(new URLSearchParams(view))) return;
      const [left, right] = sprites.map((all) => normalised(all, view.image));
      const fits = left.length === right.length;
      difference.canvas.hidden = !fits;
      if (!fits) return say(difference.said, "These maps have no difference: they are not of the same size.");
      const values = left.map((value, at) => value - right[at]);
      const most = Math.max(...values.map(Math.abs));
      diverging(difference.canvas, values, most || 1);
      const distance = Math.hypot(...values).toFixed(2);
      difference.canvas.setAttribute("aria-label", `the left map minus the right one, whose l2 distance is ${distance}`);
      say(difference.said, `Left minus right: red where the left map has more, blue where the right one has; full colour is ${most.toFixed(2)}. ` +
        `l2 distance of the maps ${distance}, from 0 (the same) to 1.41 (no position in common).`);
    }

    function say(place, sentence) {
      if (place.textContent !== sentence) place.textContent = sentence; // a screen reader reads it out at every change
    }

    function colour(canvas) {
      const context = canvas.getContext("2d");
      const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
      for (let at = 0; at < pixels.data.length; at += 4) pixels.data.set(palette[pixels.data[at]], at);
      context.putImageData(pixels, 0, 0);
    }

    function sprite(address) {
      if (!loaded.has(address)) {
        const picture = new Image();
        picture.src = address;
        loaded.set(address, picture.decode().then(() => picture));
      }
      return loaded.get(address);
    }
  }

  // The view that the address names; what it does not name, or names wrongly, is as at first.
  function restored(data) {
    const named = new URLSearchParams(location.hash.slice(1));
    const among = (name, values, otherwise) => (values.includes(named.get(name)) ? named.get(name) : otherwise);
    const number = (name, most, otherwise) => {
      const text = named.get(name);
      return /^\d+$/.test(text) && Number(text) <= most ? Number(text) : otherwise;
    };
    const view = {
      image: number("image", data.labels.length - 1, 0),
      opacity: number("opacity", 100, 60),
      smooth: named.get("smooth") === "true",
    };
    PANELS.forEach((side, index) => {
      view[`${side}-network`] = among(`${side}-network`, data.networks, data.networks[index % data.networks.length]);
      view[`${side}-level`] = among(`${side}-level`, data.levels, data.levels.at(-1));
      view[`${side}-mapping`] = among(`${side}-mapping`, data.mappings, data.mappings[0]);
    });
    return view;
  }

  // The picture at `index` of a sprite, whose pictures are square and side by side.
  function crop(canvas, sprite, index) {
    canvas.width = canvas.height = sprite.height;
    canvas.getContext("2d").drawImage(sprite, -index * sprite.height, 0);
  }

  // The grey values of the picture at `index` of a sprite, divided by their l2 norm.
  function normalised(sprite, index) {
    const canvas = element("canvas", {});
    crop(canvas, sprite, index);
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const values = Array.from({ length: pixels.length / 4 }, (_, at) => pixels[4 * at]);
    const norm = Math.hypot(...values) || 1;
    return values.map((value) => value / norm);
  }

  // A square of values, red where they are above 0 and blue below, `most` in full colour.
  function diverging(canvas, values, most) {
    canvas.width = canvas.height = Math.sqrt(values.length);
    const image = new ImageData(canvas.width, canvas.height);
    values.forEach((value, at) => {
      const rest = 255 * (1 - Math.abs(value) / most);
      image.data.set(value > 0 ? [255, rest, rest, 255] : [rest, rest, 255, 255], 4 * at);
    });
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  // Interpolates the grey values of a square canvas to a larger one, before they are coloured: Catmull-Rom's cubic.
  function bicubic(canvas, size) {
    const side = canvas.width;
    const context = canvas.getContext("2d");
    const grey = context.getImageData(0, 0, side, side).data;
    const taps = Array.from({ length: size }, (_, at) => {
      const place = ((at + 0.5) * side) / size - 0.5;
      const first = Math.floor(place);
      return [-1, 0, 1, 2].map((step) => {
        const away = Math.abs(place - first - step);
        const weight = away < 1 ? (1.5 * away - 2.5) * away * away + 1 : ((2.5 - 0.5 * away) * away - 4) * away + 2;
        return [Math.min(side - 1, Math.max(0, first + step)), weight];
      });
    });
    canvas.width = canvas.height = size;
    const pixels = context.createImageData(size, size);
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        let value = 0;
        for (const [row, high] of taps[y]) for (const [column, wide] of taps[x]) value += high * wide * grey[4 * (row * side + column)];
        pixels.data.set([value, value, value, 255], 4 * (y * size + x)); // clamped to 0 to 255 by the array
      }
    }
    context.putImageData(pixels, 0, 0);
  }

  function bar(colours) {
    const ends = colours.filter((_, index) => index % 51 === 0);
    return element("span", { className: "explorer-bar", style: `background: linear-gradient(to right, ${ends})` });
  }
})();
