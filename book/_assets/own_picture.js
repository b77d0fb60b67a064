// Looks at the reader's own picture: runs the networks that `at_repro.report.in_browser` wrote, by TensorFlow.js, and draws their maps.
// Nothing leaves the page. The scripts are loaded when the first picture comes: they are 14 MB.
"use strict";

(() => {
  const element = window.atReproElement;
  const ASSETS = document.currentScript.src.replace(/[^/]*$/, "");
  const absent = ["tfjs/tf-core.min.js", "tfjs/tf-backend-cpu.min.js", "own_picture/photographs.js", "own_picture/students.js"];
  const SIDE = 224; // of what is drawn, in pixels
  const [LARGEST, ROOM] = [1024, 4096]; // what is halved before it is read, and the widest canvas that phones have
  const LEVELS = ["low", "middle", "top"];
  const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
  const COLOURS = VIRIDIS.map((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));
  let loading = null;

  document.addEventListener("DOMContentLoaded", () => {
    const root = document.querySelector(".own-picture");
    if (root) begin(root);
  });

  // What tests and readers with a console may use: logits and maps of a network for pixels (height x width x 3, 0 to 255).
  window.atReproLook = async (name, pixels) => {
    await load();
    return look(window.atReproNetworks[name], pixels);
  };

  function begin(root) {
    const input = element("input", { type: "file", accept: "image/*" });
    const message = element("p", { className: "own-picture-message", role: "status" });
    const answer = element("p", { role: "status" });
    const results = element("div", {});
    const place = element(
      "label", { className: "own-picture-place" },
      "Drop a picture on this page, paste one, or choose a file: ", input,
    );
    root.append(place, message, answer, results);
    input.addEventListener("click", () => { input.value = ""; }); // else the same file again is no change
    input.addEventListener("change", () => input.files.length && take(input.files));
    // On the whole page: beside the box the browser would leave it for the picture.
    document.addEventListener("dragover", (event) => event.dataTransfer.types.includes("Files") && event.preventDefault());
    document.addEventListener("drop", (event) => {
      if (!event.dataTransfer.files.length) return;
      event.preventDefault();
      take(event.dataTransfer.files);
    });
    document.addEventListener("paste", (event) => event.clipboardData.files.length && take(event.clipboardData.files));

    let last = null; // the picture that is looked at, or was: an earlier one gives way to it

    async function take(files) {
      const file = [...files].find((one) => one.type.startsWith("image/")) ?? files[0];
      last = file;
      input.files = files; // else it names the file that was chosen before
      say("");
      answer.textContent = "";
      results.replaceChildren();
      root.scrollIntoView(); // rows come below it, and a picture may be dropped or pasted far from here
      let picture;
      try {
        picture = await createImageBitmap(file);
      } catch {
        return last === file && say("This is no picture that the browser can read; a JPEG, PNG, WebP or GIF will do.");
      }
      if (last !== file) return picture.close();
      say("Loading the networks, once: 14 MB from beside this page …");
      try {
        await load();
      } catch (error) {
        picture.close();
        return last === file && say(`The networks could not be loaded (${error.message}): give the picture once more.`);
      }
      if (last !== file) return picture.close();
      const begun = performance.now();
      const networks = Object.entries(window.atReproNetworks).sort(([, one], [, other]) => one.resolution - other.resolution);
      const [tops, squares] = [{}, {}]; // by network, and by resolution
      try {
        if (!networks.length) return say("The networks are not here: build the book in a clone, where the weights are installed.");
        for (const [name, network] of networks) {
          say(`Looking: ${name}, ${results.children.length + 1} of ${networks.length} …`);
          await new Promise((done) => setTimeout(done, 30)); // lets the browser show this, and the row before
          if (last !== file) return;
          const seen = (squares[network.resolution] ??= crop(picture, network.resolution));
          const [section, maps] = await row(name, network, seen);
          if (last !== file) return;
          results.append(section);
          tops[name] = normalised(maps.at(-1).values);
        }
      } catch (error) {
        return last === file && say(`This browser could not look at it (${error.message}).`);
      } finally {
        picture.close();
      }
      if (tops.teacher && tops.student && tops.AT) answer.textContent = compared(tops);
      say(`${file.name} was looked at by ${networks.length} networks in ${((performance.now() - begun) / 1000).toFixed(1)} s, on this machine; nothing was uploaded.`);
    }

    function say(text) {
      message.textContent = text;
    }
  }

  function normalised(values) {
    const norm = Math.hypot(...values) || 1;
    return values.map((value) => value / norm);
  }

  // What attention transfer did to the student's top map of this picture: distances from the teacher's, see eq. 2.
  function compared({ teacher, student, AT }) {
    const apart = (map) => Math.hypot(...map.map((value, at) => value - teacher[at])).toFixed(2);
    return `The student's top map of this picture is ${apart(AT)} from the teacher's with attention transfer and ` +
      `${apart(student)} without, from 0 (the same) to 1.41 (no position in common). One picture, and one seed of each.`;
  }

  // What a network sees and guesses, as an element, and its maps.
  async function row(name, network, seen) {
    const { logits, maps } = await look(network, seen);
    const best = [...logits.keys()].sort((one, other) => logits[other] - logits[one]).slice(0, 3);
    const top = Math.max(...logits);
    const sum = logits.reduce((all, logit) => all + Math.exp(logit - top), 0);
    const guesses = best.map((label) => `${network.classes[label]} ${(100 * Math.exp(logits[label] - top) / sum).toFixed(0)} %`);
    const chosen = maps.length > LEVELS.length ? [maps[0], maps[maps.length >> 1], maps[maps.length - 1]] : maps;
    const figures = chosen.map((map, level) => figure(overlay(seen, network.resolution, map), LEVELS[level], name));
    const section = element(
      "section", { className: "own-picture-row" },
      element("p", {}, element("strong", {}, name), `: ${guesses.join(", ")}`),
      element("div", { className: "own-picture-maps" }, figure(canvasOf(seen, network.resolution), "image", name), ...figures),
    );
    return [section, maps];
  }

  // The middle of a picture as a square of so many pixels, on white where it is transparent: [r, g, b, r, g, b, …].
  function crop(picture, resolution) {
    let side = Math.min(picture.width, picture.height);
    let from = [picture, Math.round((picture.width - side) / 2), Math.round((picture.height - side) / 2)];
    const draw = (size) => {
      const context = element("canvas", { width: size, height: size }).getContext("2d", { willReadFrequently: true });
      context.fillStyle = "white";
      context.fillRect(0, 0, size, size);
      context.drawImage(...from, side, side, 0, 0, size, size);
      [from, side] = [[context.canvas, 0, 0], size];
      return context;
    };
    while (side > LARGEST) draw(Math.min(Math.ceil(side / 2), ROOM));
    const rgb = draw(side).getImageData(0, 0, side, side).data.filter((_, index) => index % 4 < 3);
    const across = shrink(rgb, side, side, resolution);
    return [...shrink(across, resolution, side, resolution)].map(Math.round);
  }

  // Rows of colours, `from` each, as `to` each, and transposed: by triangles as wide as what one stands for, as Pillow does
  // with the square that was cut. Python's `folders.square` shrinks before it cuts: of 4:3 its squares are 1 to 2 % wider.
  // A browser's own way of it would be another one each: Firefox looks at few of the pixels.
  function shrink(values, rows, from, to) {
    const wide = Math.max(1, from / to);
    const found = new Float32Array(3 * rows * to);
    for (let at = 0; at < to; at++) {
      const place = ((at + 0.5) * from) / to - 0.5;
      const [first, last] = [Math.max(0, Math.ceil(place - wide)), Math.min(from - 1, Math.floor(place + wide))];
      const weights = Array.from({ length: last - first + 1 }, (_, tap) => 1 - Math.abs(first + tap - place) / wide);
      const sum = weights.reduce((all, weight) => all + weight, 0);
      for (let row = 0; row < rows; row++) {
        for (let colour = 0; colour < 3; colour++) {
          let value = 0;
          for (let tap = 0; tap < weights.length; tap++) value += weights[tap] * values[3 * (row * from + first + tap) + colour];
          found[3 * (at * rows + row) + colour] = value / sum;
        }
      }
    }
    return found;
  }

  function load() {
    loading ??= addAll().finally(() => { loading = null; }); // what failed is asked for with the next picture
    return loading;
  }

  async function addAll() {
    while (absent.length) {
      await add(absent[0]);
      absent.shift();
    }
  }

  function add(script) {
    return new Promise((done, failed) => {
      const tag = element("script", { src: ASSETS + script });
      const fail = () => failed(new Error(script));
      window.addEventListener("error", fail); // in its text: one that came in part is loaded as well
      tag.addEventListener("load", done);
      tag.addEventListener("error", fail);
      document.head.append(tag);
    });
  }

  // Logits (K) and F_sum^2 maps ({ height, width, values }), low to top, of one image.
  async function look(network, pixels) {
    network.values ??= decode(network.weights);
    network.tensors ??= new Map();
    const tensor = ([begin, shape]) => {
      const end = begin + shape.reduce((all, one) => all * one, 1);
      if (!network.tensors.has(begin)) network.tensors.set(begin, tf.keep(tf.tensor(network.values.subarray(begin, end), shape)));
      return network.tensors.get(begin);
    };
    const [logits, ...maps] = tf.tidy(() => {
      const size = network.resolution;
      const image = tf.tensor(pixels, [1, size, size, 3], "float32");
      const results = [tf.div(tf.sub(image, tf.tensor(network.mean)), tf.tensor(network.std))];
      for (const [operation, inputs, settings] of network.steps) {
        results.push(OPERATIONS[operation](tensor, settings, ...inputs.map((input) => results[input])));
      }
      return [results[network.logits], ...network.groups.map((group) => tf.sum(tf.square(results[group]), 3))];
    });
    const found = { logits: [...(await logits.data())], maps: [] };
    for (const map of maps) found.maps.push({ height: map.shape[1], width: map.shape[2], values: [...(await map.data())] });
    tf.dispose([logits, ...maps]);
    return found;
  }

  const OPERATIONS = {
    convolution: (tensor, { kernel, bias, stride, padding }, image) =>
      affine(tf.conv2d(image, tensor(kernel), stride, padding), tensor(bias)),
    depthwise: (tensor, { kernel, bias, stride, padding }, image) =>
      affine(tf.depthwiseConv2d(image, tensor(kernel), stride, padding), tensor(bias)),
    scale: (tensor, { by, plus }, image) => affine(image, tensor(plus), tensor(by)),
    add: (tensor, settings, one, other) => tf.add(one, other),
    clip: (tensor, { most }, image) => (most === null ? tf.relu(image) : tf.clipByValue(image, 0, most)),
    mean: (tensor, settings, image) => tf.mean(image, [1, 2]),
    linear: (tensor, { weight, bias }, image) => tf.add(tf.matMul(image, tensor(weight)), tensor(bias)),
  };

  // A number per channel, added, and one to multiply by: as a batch norm, since the library adds tensors of other shapes
  // element by element through their indices, which takes as long as a convolution.
  function affine(image, plus, by = tf.onesLike(plus)) {
    return tf.batchNorm(image, tf.zerosLike(plus), tf.onesLike(plus), plus, by, 0);
  }

  // float16, little-endian, in base64, to float32.
  function decode(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Float32Array.from({ length: bytes.length / 2 }, (_, index) => {
      const half = view.getUint16(2 * index, true);
      const [exponent, fraction] = [(half >> 10) & 31, half & 1023];
      const size = exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024);
      return half >> 15 ? -size : size;
    });
  }

  function overlay(pixels, resolution, map) {
    const most = Math.max(...map.values) || 1;
    const colours = [];
    for (let at = 0; at < resolution * resolution; at++) {
      const [y, x] = [Math.floor(at / resolution), at % resolution];
      const value = map.values[Math.floor((y * map.height) / resolution) * map.width + Math.floor((x * map.width) / resolution)];
      const grey = 0.299 * pixels[3 * at] + 0.587 * pixels[3 * at + 1] + 0.114 * pixels[3 * at + 2];
      for (const part of colour(value / most)) colours.push(0.35 * grey + 0.65 * part);
    }
    return canvasOf(colours, resolution);
  }

  function colour(share) {
    const place = share * (COLOURS.length - 1);
    const low = Math.min(Math.floor(place), COLOURS.length - 2);
    return COLOURS[low].map((part, index) => part + (place - low) * (COLOURS[low + 1][index] - part));
  }

  function canvasOf(pixels, resolution) {
    const small = element("canvas", { width: resolution, height: resolution });
    const image = new ImageData(resolution, resolution);
    for (let at = 0; at < resolution * resolution; at++) image.data.set([pixels[3 * at], pixels[3 * at + 1], pixels[3 * at + 2], 255], 4 * at);
    small.getContext("2d").putImageData(image, 0, 0);
    const canvas = element("canvas", { width: SIDE, height: SIDE });
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false; // a square per position
    context.drawImage(small, 0, 0, SIDE, SIDE);
    return canvas;
  }

  function figure(canvas, caption, network) {
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${network}: ${caption}`);
    return element("figure", {}, canvas, element("figcaption", {}, caption));
  }
})();
