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
    const ops = table.parts[row] ? [...new Set(table.parts[row].map((place) => content.parts[place][opPlace]))] : [];
    haystacks[row] = [`#${table.id[row]}`, table.digest[row], statusOf(row), originOf(row), reasonOf(row), ...ops]
      .filter(Boolean).join("\n").toLowerCase();
  }
  return haystacks[row];
}

/** What the reader has chosen. Everything on the page follows from it. */
const state = {
  group: 0, preset: "front", filter: "", hidden: new Set(), chosen: null,
  x: columns.step_ms ? "step_ms" : "params", y: columns.accuracy ? "accuracy" : "macs",
  logX: false, logY: false, zoom: null,
  sort: { key: columns.accuracy ? "accuracy" : "params", descending: Boolean(columns.accuracy) },
};
