// The filter's language: conditions and words, all of which must hold.

const COMPARE = {
  "<=": (a, b) => a <= b, ">=": (a, b) => a >= b, "<": (a, b) => a < b, ">": (a, b) => a > b,
  "!=": (a, b) => a !== b, "=": (a, b) => a === b,
};
const SUFFIX = { k: 1e3, m: 1e6, g: 1e9, kib: 1024, mib: 1024 ** 2, gib: 1024 ** 3 };
const FIELDS = {
  status: (row, text) => statusOf(row) === text,
  run: (row, text) => runOf(row).name.toLowerCase().includes(text),
  origin: (row, text) => (originOf(row) ?? "").toLowerCase().includes(text),
  reason: (row, text) => (reasonOf(row) ?? "").toLowerCase().includes(text),
};

/** A test of rows, or a sentence that says what is wrong: `{ test }` or `{ problem }`. */
function parseFilter(text) {
  const tests = [];
  for (const term of text.trim().split(/\s+/).filter(Boolean)) {
    const made = parseTerm(term);
    if (made.problem) return made;
    tests.push(made.test);
  }
  return { test: (row) => tests.every((test) => test(row)) };
}

function parseTerm(term) {
  const condition = /^([^<>=!]+)(<=|>=|!=|<|>|=)(.*)$/.exec(term);
  if (condition) return parseCondition(term, ...condition.slice(1));
  const field = /^([a-z]+):(.+)$/i.exec(term);
  if (field && Object.hasOwn(FIELDS, field[1].toLowerCase())) {
    const test = FIELDS[field[1].toLowerCase()];
    const wanted = field[2].toLowerCase();
    return { test: (row) => test(row, wanted) };
  }
  const wanted = term.toLowerCase();
  if (/^\d+$/.test(term)) {
    const id = Number(term);
    return { test: (row) => table.id[row] === id || table.digest[row].startsWith(wanted) };
  }
  return { test: (row) => haystack(row).includes(wanted) };
}

function parseCondition(term, name, sign, bound) {
  const column = name === "id" ? table.id : Object.hasOwn(columns, name) ? columns[name] : null;
  if (column === null) return { problem: `${name} is no quantity here; there are ${Object.keys(columns).join(", ")}` };
  const number = /^([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)(kib|mib|gib|k|m|g)?$/i.exec(bound);
  if (!number) return { problem: `${term}: ${bound ? `"${bound}" is no number` : "the number is missing"}; write ${name}${sign}0.5, or 2M for 2 million` };
  const limit = Number(number[1]) * (number[2] ? SUFFIX[number[2].toLowerCase()] : 1);
  const compare = COMPARE[sign];
  return { test: (row) => !Number.isNaN(column[row]) && compare(column[row], limit) };
}

const PRESETS = {
  front: { label: "Front", test: isOnFront, help: "Networks that no other of their run dominates" },
  all: { label: "All", test: () => true, help: "Every network that was proposed" },
  failed: { label: "Failed", test: (row) => FAILED.has(statusOf(row)), help: "Networks whose evaluation broke" },
};

const isShown = (row) => runOf(row).group === state.group && !state.hidden.has(table.run[row]);

/** Rows that pass everything, in the table's order. */
function passing(test) {
  const preset = PRESETS[state.preset].test;
  const rows = [];
  for (let row = 0; row < size; row += 1) if (isShown(row) && preset(row) && test(row)) rows.push(row);
  return sorted(rows);
}

const KEYS = {
  id: (row) => table.id[row], status: statusOf, origin: (row) => originOf(row) ?? "", run: (row) => runOf(row).name,
  front: (row) => table.front[row] + table.joint[row],
};

/** In the order asked for; what is missing last, whichever way; equals in the order of proposal. */
function sorted(rows) {
  const { key, descending } = state.sort;
  const sign = descending ? -1 : 1;
  const column = columns[key];
  if (!column) {
    const read = KEYS[key];
    return rows.sort((a, b) => {
      const [first, second] = [read(a), read(b)];
      return first < second ? -sign : first > second ? sign : a - b;
    });
  }
  return rows.sort((a, b) => {
    const [first, second] = [column[a], column[b]];
    if (Number.isNaN(first) || Number.isNaN(second)) return Number.isNaN(first) - Number.isNaN(second) || a - b;
    return sign * (first - second) || a - b;
  });
}
