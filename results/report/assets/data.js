// The content, as columns that are quick to look through.

const content = JSON.parse(byId("content").textContent);
const table = content.candidates;
const size = table.id.length;
const quantities = content.quantities;
const quantityOf = Object.fromEntries(quantities.map((each) => [each.name, each]));

const columns = Object.fromEntries(
  Object.entries(table.values).map(([name, values]) => [name, Float64Array.from(values, (value) => (value === null ? NaN : value))]),
);

const word = (place) => (place === null ? null : table.words[place]);
const statusOf = (row) => word(table.status[row]);
const reasonOf = (row) => word(table.reason[row]);
const originOf = (row) => word(table.origin[row]);
const runOf = (row) => content.runs[table.run[row]];
const valueOf = (name, row) => columns[name][row];
const isOnFront = (row) => table.front[row] === 1;
const isOnJoint = (row) => table.joint[row] === 1;
const isProvisional = (row) => statusOf(row) === "unstable";
const hasSeveralRuns = content.runs.length > 1;
const FAILED = new Set(["error", "oom", "timeout", "diverged"]);
const TURNED_AWAY = new Set(["infeasible", "skipped", "stopped"]);

const partsOf = (row) => table.parts[row]?.map((place) =>
  Object.fromEntries(content.part_fields.map((field, index) => [field, content.parts[place][index]]))) ?? null;
const yamlOf = (row) => table.yaml[row].map((place) => content.texts[place]).join("");

const opPlace = content.part_fields.indexOf("op");
const haystacks = new Array(size);
/** Everything of a candidate that a word of the filter may be found in. */
function haystack(row) {
  if (haystacks[row] === undefined) {
    let text = `#${table.id[row]}\n${table.digest[row]}\n${statusOf(row)}\n${originOf(row)}\n${reasonOf(row) ?? ""}`;
    for (const place of table.parts[row] ?? []) text += `\n${content.parts[place][opPlace]}`;
    haystacks[row] = text.toLowerCase();
  }
  return haystacks[row];
}

/** The quantity that an axis begins with: a usual objective of the first run, its first of that direction, or a usual one. */
function axisOf(direction, usual) {
  const objectives = (content.runs[0]?.objectives ?? []).filter((each) => each.direction === direction && columns[each.name]);
  const names = objectives.map((each) => each.name);
  return usual.find((name) => names.includes(name)) ?? names[0] ?? usual.find((name) => columns[name]);
}

/** What the reader has chosen. Everything on the page follows from it. */
const state = {
  group: 0, preset: "front", filter: "", hidden: new Set(), chosen: null,
  x: axisOf("minimize", ["step_ms", "estimated_step_ms", "params"]), y: axisOf("maximize", ["accuracy", "macs"]),
  logX: false, logY: false, zoom: null,
  sort: { key: columns.accuracy ? "accuracy" : "params", descending: Boolean(columns.accuracy) },
};
