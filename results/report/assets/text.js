// Elements and numbers. All text goes through textContent, so nothing in a run can become markup.

const element = (tag, given = {}, ...children) => fill(document.createElement(tag), given, children);
const drawing = (tag, given = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), given, children);

function fill(node, given, children) {
  for (const [key, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    else if (key === "css") for (const [name, text] of Object.entries(value)) node.style.setProperty(name, text);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined).map((child) => (child instanceof Node ? child : String(child))));
  return node;
}

const byId = (id) => document.getElementById(id);
const NONE = "–";
const isMissing = (value) => value === null || value === undefined || Number.isNaN(value);
const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

function significant(value, digits = 4) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e15 || size < 1e-4) return value.toExponential(digits - 1);
  const places = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return places > 0 ? value.toFixed(Math.min(places, 12)) : grouped.format(value);
}

function withPrefix(value, base, units) {
  let place = 0;
  let left = value;
  while (Math.abs(left) >= base && place < units.length - 1) { left /= base; place += 1; }
  return `${place === 0 ? significant(left, 4) : trimmed(left)}${units[place]}`;
}

const trimmed = (value) => String(Number(value.toPrecision(3)));
const BYTES = [" B", " KiB", " MiB", " GiB", " TiB"];
const COUNTS = ["", " k", " M", " G", " T"];

/** A value in full, in its quantity's form. */
function written(quantity, value) {
  if (isMissing(value)) return NONE;
  if (quantity.form === "fraction") return value.toFixed(4);
  if (quantity.form === "count") return grouped.format(value);
  if (quantity.form === "bytes") return withPrefix(value, 1024, BYTES);
  return Number.isInteger(value) ? grouped.format(value) : significant(value);
}

/** A value at an axis: short. */
function brief(quantity, value) {
  if (quantity.form === "bytes") return withPrefix(value, 1024, BYTES);
  if (quantity.form === "count" || Math.abs(value) >= 1e5) return withPrefix(value, 1000, COUNTS);
  return String(Number(value.toPrecision(6)));
}

const titled = (quantity) => (quantity.unit ? `${quantity.label} (${quantity.unit})` : quantity.label);

function duration(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
