// Runs the exported segmentation network on what stands on the canvas, and shows all its grids.
import * as ort from "./vendor/ort.wasm.min.mjs";

const SIDE = 64;
const THRESHOLD = 0.5; // from which on a pixel belongs to a digit
const BRUSH = 1.5; // radius in pixels of the canvas
const here = (name) => new URL(name, import.meta.url).href;
const element = (id) => document.getElementById(id);

const root = element("try");
const status = element("try-status");
const ink = new Float32Array(SIDE * SIDE);
let session, record, digits;
let outputs = {}; // by the name of the output: {data, side, channels}
let chosen; // the output whose channels are shown
let waiting = false, running = false;

// What tests compare with Keras: the canvas, and the outputs of the last run in their order.
window.tryIt = { ink, outputs: () => record.outputs.map(({ name }) => outputs[name]), idle: () => session && !running && !waiting };

// --- pictures

function rgb(hex) {
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

// From dark to bright, close to matplotlib's magma.
const RAMP = ["#0e0e12", "#3b0f70", "#8c2981", "#de4968", "#fe9f6d", "#fcfdbf"].map(rgb);

function ramp(value) {
  const place = Math.min(Math.max(value, 0), 1) * (RAMP.length - 1);
  const low = Math.min(Math.floor(place), RAMP.length - 2);
  return [0, 1, 2].map((i) => RAMP[low][i] + (place - low) * (RAMP[low + 1][i] - RAMP[low][i]));
}

function paint(canvas, side, colour) {
  if (canvas.width !== side) canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  const image = context.createImageData(side, side);
  for (let i = 0; i < side * side; i++) {
    const [r, g, b] = colour(i);
    image.data.set([r, g, b, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

function paintInk() {
  paint(element("try-canvas"), SIDE, (i) => Array(3).fill(14 + 241 * ink[i]));
}

// A map in the colours of its own range.
function paintMap(canvas, side, value) {
  const values = Float32Array.from({ length: side * side }, (_, i) => value(i));
  const low = values.reduce((a, b) => Math.min(a, b));
  const high = values.reduce((a, b) => Math.max(a, b));
  const scale = high > low ? 1 / (high - low) : 0;
  paint(canvas, side, (i) => ramp((values[i] - low) * scale));
  return [low, high];
}

function mean({ data, channels }, i) {
  let sum = 0;
  for (let c = 0; c < channels; c++) sum += data[i * channels + c];
  return sum / channels;
}

// --- the page's parts

function makeLegend() {
  element("try-legend").innerHTML = record.palette
    .map((colour, digit) =>
      `<span role="listitem"><i style="background:${colour}"></i>${digit}<small></small></span>`)
    .join("");
}

function makeGrids() {
  const layers = [...new Set(record.outputs.map((output) => output.layer))];
  const table = element("try-grids");
  table.style.gridTemplateColumns = `auto repeat(${layers.length}, auto)`;
  for (let grid = 0; grid < 4; grid++) {
    const side = SIDE >> grid;
    table.append(label(`${side}×${side}`, grid + 1, 1, "row"));
  }
  layers.forEach((layer, column) => {
    const words = layer.replace("_layer1", "").replace(/(\d)/, " $1");
    table.append(label(words, 5, column + 2));
  });
  for (const output of record.outputs) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.name = output.name;
    button.style.gridArea = `${output.grid + 1} / ${layers.indexOf(output.layer) + 2}`;
    const side = SIDE >> output.grid;
    button.title = `${output.layer}, ${side}×${side}`;
    button.setAttribute("aria-label", `Show the channels of ${button.title}`);
    button.append(document.createElement("canvas"));
    button.addEventListener("click", () => choose(output));
    table.append(button);
  }
}

function label(text, row, column, kind = "") {
  const span = document.createElement("span");
  span.textContent = text;
  span.className = kind;
  span.style.gridArea = `${row} / ${column}`;
  return span;
}

function choose(output) {
  chosen = output;
  for (const button of element("try-grids").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset.name === output.name));
  }
  showChannels();
}

function showChannels() {
  const output = outputs[chosen.name];
  if (!output) return;
  const last = chosen.layer === "maps";
  element("try-detail-name").textContent = `${chosen.layer}, ${output.side}×${output.side}`;
  element("try-detail-words").textContent = last
    ? "a map for each digit, from 0 (dark) to 1"
    : `${output.channels} channels, each from its least (dark) to its largest value`;
  const box = element("try-channels");
  while (box.children.length > output.channels) box.lastChild.remove();
  while (box.children.length < output.channels) {
    const figure = document.createElement("figure");
    figure.append(document.createElement("canvas"), document.createElement("figcaption"));
    box.append(figure);
  }
  [...box.children].forEach((figure, c) => {
    const value = (i) => output.data[i * output.channels + c];
    const [canvas, caption] = figure.children;
    if (last) {
      paint(canvas, output.side, (i) => ramp(value(i)));
      caption.textContent = String(c);
    } else {
      const [low, high] = paintMap(canvas, output.side, value);
      caption.textContent = `${low.toFixed(1)} to ${high.toFixed(1)}`;
    }
  });
}

function showOutput() {
  const colours = record.palette.map(rgb);
  const { data, channels } = outputs[record.outputs.at(-1).name];
  const pixels = new Array(channels).fill(0);
  paint(element("try-output"), SIDE, (i) => {
    const found = [];
    for (let c = 0; c < channels; c++) {
      if (data[i * channels + c] >= THRESHOLD) found.push(c);
    }
    found.forEach((c) => pixels[c]++);
    if (!found.length) return [14, 14, 18].map((ground) => ground + 40 * ink[i]);
    // A pixel of two digits gets the mean of their colours.
    return [0, 1, 2].map((k) => found.reduce((sum, c) => sum + colours[c][k], 0) / found.length);
  });
  [...element("try-legend").children].forEach((item, c) => {
    item.classList.toggle("found", pixels[c] > 0);
    item.lastChild.textContent = pixels[c] || "";
  });
  for (const button of element("try-grids").querySelectorAll("button")) {
    const output = outputs[button.dataset.name];
    paintMap(button.firstChild, output.side, (i) => mean(output, i));
  }
  showChannels();
}

// --- the network

async function run() {
  waiting = true;
  if (running || !session) return;
  running = true;
  try {
    while (waiting) {
      waiting = false;
      const start = performance.now();
      const input = new ort.Tensor("float32", ink.slice(), [1, SIDE, SIDE, 1]);
      const results = await session.run({ [record.input]: input });
      const time = performance.now() - start;
      outputs = {};
      for (const { name } of record.outputs) {
        const { data, dims } = results[name];
        outputs[name] = { data, side: dims[1], channels: dims[3] };
      }
      showOutput();
      status.textContent = `computed in ${time.toFixed(0)} ms`;
      root.dataset.runs = String(Number(root.dataset.runs) + 1);
      // Let the browser draw before the next canvas is looked at.
      await new Promise(requestAnimationFrame);
    }
  } catch (error) {
    waiting = false; // what was drawn meanwhile would fail likewise; the next stroke tries again
    status.textContent = `The network stopped: ${error.message}`;
  } finally {
    running = false;
  }
}

// --- digits and drawing

function decode(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

// A turned and enlarged digit as pixels of the canvas: [index, ink].
function render(glyph, side, angle, row, column) {
  const factor = digits.frame / side;
  const cos = Math.cos(angle) * factor, sin = Math.sin(angle) * factor;
  const middle = (digits.side - 1) / 2;
  const reach = Math.ceil(0.75 * side);
  const at = (y, x) =>
    y < 0 || x < 0 || y >= digits.side || x >= digits.side ? 0 : glyph[y * digits.side + x] / 255;
  const pixels = [];
  for (let dy = -reach; dy <= reach; dy++) {
    for (let dx = -reach; dx <= reach; dx++) {
      const y = cos * dy - sin * dx + middle, x = sin * dy + cos * dx + middle;
      const top = Math.floor(y), left = Math.floor(x), down = y - top, right = x - left;
      const value =
        (at(top, left) * (1 - right) + at(top, left + 1) * right) * (1 - down) +
        (at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right) * down;
      const [r, c] = [row + dy, column + dx];
      if (value > 0 && r >= 0 && c >= 0 && r < SIDE && c < SIDE) pixels.push([r * SIDE + c, value]);
    }
  }
  return pixels;
}

const between = (low, high) => low + Math.random() * (high - low);

// As the network's training had it: 3 to 5 digits, turned by up to 30 degrees, enlarged 2 to 3
// times, at most a tenth of one on others where that can be had in 20 tries.
function scatter() {
  ink.fill(0);
  const count = 3 + Math.floor(Math.random() * 3);
  for (let n = 0; n < count; n++) {
    const glyph = decode(digits.digits[Math.floor(Math.random() * digits.digits.length)].pixels);
    const side = 8 * between(2, 3), angle = (between(-30, 30) * Math.PI) / 180;
    const reach = Math.ceil((side / 2) * (Math.cos(angle) + Math.abs(Math.sin(angle))));
    let best, least = Infinity;
    for (let attempt = 0; attempt < 20 && least > 0.1; attempt++) {
      const [row, column] = [0, 0].map(() => Math.round(between(reach, SIDE - reach)));
      const pixels = render(glyph, side, angle, row, column);
      const own = pixels.filter(([, value]) => value >= 0.3);
      const share = own.filter(([i]) => ink[i] >= 0.3).length / Math.max(own.length, 1);
      if (share < least) [best, least] = [pixels, share];
    }
    for (const [i, value] of best) ink[i] = Math.min(1, ink[i] + value);
  }
  paintInk();
  run();
}

let pen = null; // where the pointer was
let erasing = false;

function place(event) {
  const box = element("try-canvas").getBoundingClientRect();
  return [
    ((event.clientY - box.top) / box.height) * SIDE - 0.5,
    ((event.clientX - box.left) / box.width) * SIDE - 0.5,
  ];
}

function stroke([y0, x0], [y1, x1]) {
  const radius = erasing ? 3 * BRUSH : BRUSH;
  const length = Math.hypot(y1 - y0, x1 - x0);
  const steps = Math.max(1, Math.ceil(2 * length));
  for (let s = 0; s <= steps; s++) {
    const y = y0 + ((y1 - y0) * s) / steps, x = x0 + ((x1 - x0) * s) / steps;
    for (let r = Math.max(0, Math.floor(y - radius - 1)); r <= Math.min(SIDE - 1, y + radius + 1); r++) {
      for (let c = Math.max(0, Math.floor(x - radius - 1)); c <= Math.min(SIDE - 1, x + radius + 1); c++) {
        const value = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(r - y, c - x)));
        const i = r * SIDE + c;
        ink[i] = erasing ? Math.min(ink[i], 1 - value) : Math.max(ink[i], value);
      }
    }
  }
  paintInk();
  run();
}

function listen() {
  const canvas = element("try-canvas");
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pen = place(event);
    stroke(pen, pen);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!pen) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) {
      const next = place(each);
      stroke(pen, next);
      pen = next;
    }
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => (pen = null));
  }
  element("try-scatter").addEventListener("click", scatter);
  element("try-clear").addEventListener("click", () => {
    ink.fill(0);
    paintInk();
    run();
  });
  element("try-erase").addEventListener("click", (event) => {
    erasing = !erasing;
    event.currentTarget.setAttribute("aria-pressed", String(erasing));
  });
}

async function load() {
  const json = async (name) => {
    const answer = await fetch(here(name));
    if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
    return answer.json();
  };
  [record, digits] = await Promise.all([json("model.json"), json("digits.json")]);
  makeLegend();
  makeGrids();
  // One thread: more need headers that a plain file server does not send.
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = here("./vendor/");
  session = await ort.InferenceSession.create(here("model.onnx"));
  choose(record.outputs.at(-1));
  element("try-scatter").disabled = false;
  if (ink.some((value) => value > 0)) run();
  else scatter();
}

paintInk();
listen();
load().catch((error) => {
  status.textContent = `The network could not be loaded: ${error.message}`;
});
