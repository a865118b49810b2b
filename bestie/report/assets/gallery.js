// The cards of the gallery, and their filters.
const PAGE = 24;
const filters = document.getElementById("filters");
const cards = document.getElementById("cards");
const more = document.getElementById("more");
const verdicts = document.getElementById("verdicts");
const changes = document.getElementById("changes");
const coloring = filters.elements.coloring;
const order = filters.elements.order;
const score = filters.elements.score;
const legend = document.getElementById("legend");
let matching = [];
let wanted = PAGE;

function currentFilter() {
  const values = new FormData(filters);
  return {
    table: values.get("table"),
    category: Number(values.get("category")),
    verdict: values.get("verdict"),
    change: values.get("change"),
    coloring: values.get("coloring"),
    order: values.get("order"),
    least: tableOf(values.get("table"))?.scored ? Number(values.get("score")) : 0,
    query: values.get("query").trim().toLowerCase(),
    truth: values.get("truth") === "on",
  };
}

// How far an image is from what one hopes for: the errors in it, or the classes that only its labels or only its
// instances have.
function distance(image, { table, order: by, least }) {
  const found = coloredMarks(marksOf(image, table), "category", least);
  if (by === "errors") return coloredMarks(marksOf(image, table), "verdict", least).filter((mark) => errorKinds.includes(mark.verdict)).length;
  const classes = new Set(found.map((mark) => mark.category));
  const labels = new Set(image.labels);
  return [...labels].filter((each) => !classes.has(each)).length + [...classes].filter((each) => !labels.has(each)).length;
}

// A mark matches by class, verdict and change; without a filter, every image of the table matches, even an empty one.
function markMatches(mark, { category, verdict, change }) {
  if (category && mark.category !== category && mark.was !== category) return false;
  return (!verdict || mark.verdict === verdict) && (!change || mark.change === change);
}

function imageMatches(image, filter) {
  if (!(filter.table in image.tables)) return false;
  if (filter.query && !image.id.toLowerCase().includes(filter.query)) return false;
  if (!filter.category && !filter.verdict && !filter.change) return true;
  if (!filter.verdict && !filter.change && image.truth.some((each) => each.category === filter.category)) return true;
  return marksOf(image, filter.table).some((mark) => isScored(mark, filter.least) && markMatches(mark, filter));
}

// Hide and clear the filters that the chosen table does not have.
function adaptToTable() {
  const table = tableOf(filters.elements.table.value);
  fillColorings(coloring, table?.key, coloring.value);
  score.parentElement.hidden = !table?.scored;
  if (table && score.dataset.table !== table.key) {  // each table begins with the score that is worth showing
    score.dataset.table = table.key;
    score.value = table.least;
  }
  filters.elements.least.value = Number(score.value).toFixed(2);
  const orders = [["", "of the data"], ["labels", "least agreement with the labels first"]];
  if (table?.judged) orders.push(["errors", "most errors first"]);
  const wantedOrder = order.value;
  order.replaceChildren(...orders.map(([value, name]) => new Option(name, value)));
  if (orders.some(([value]) => value === wantedOrder)) order.value = wantedOrder;
  for (const [group, known] of [[verdicts, table?.judged], [changes, table?.compared]]) {
    if (!group) continue;
    group.hidden = !known;
    if (!known) group.querySelector("input").checked = true;
  }
}

function update() {
  adaptToTable();
  const filter = currentFilter();
  matching = gallery.images.filter((image) => imageMatches(image, filter));
  if (filter.order) {
    matching.sort((a, b) => distance(b, filter) - distance(a, filter));
  } else if (filter.coloring === "change") {
    const share = (image) => image.tables[filter.table].changed ?? 0;
    matching.sort((a, b) => share(b) - share(a));
  }
  legend.hidden = filter.coloring !== "category";
  const note = document.getElementById("changes-note");
  if (note) note.hidden = filter.coloring !== "change" || filter.order !== "";
  const ofTable = gallery.images.filter((image) => filter.table in image.tables).length;
  document.getElementById("found").textContent =
    `${matching.length} of ${ofTable} images shown here match` + (matching.length > wanted ? `, the first ${wanted}:` : ":");
  for (const small of filters.querySelectorAll("small")) {
    const asked = { ...filter, [small.dataset.name]: small.dataset.value };
    small.textContent = gallery.images.filter((image) => imageMatches(image, asked)).length;
  }
  cards.replaceChildren(...matching.slice(0, wanted).map((image, index) => card(image, index, filter)));
  more.hidden = matching.length <= wanted;
}

function card(image, index, filter) {
  const marks = coloredMarks(marksOf(image, filter.table), filter.coloring, filter.least);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "card";
  const narrowed = filter.category || filter.verdict || filter.change;
  const { picture } = drawPicture(image, marks, {
    truth: filter.truth,
    coloring: filter.coloring,
    matches: (mark) => !narrowed || markMatches(mark, filter),
  });
  const caption = text("span", "caption", image.id);
  const counts = text("span", "counts", "");
  for (const [kind, name] of kindsOf(filter.coloring)) {
    const same = marks.filter((mark) => mark[filter.coloring] === kind);
    if (!same.length) continue;
    const part = text("span", "", "");
    part.append(keyOf(same[0], filter.coloring), `${same.length}`);
    part.title = `${same.length} ${name}`;
    counts.append(part);
  }
  const said = [...counts.children].map((part) => part.title).join(", ");
  button.setAttribute("aria-label", `${image.id}${said ? `: ${said}` : ""}`);
  caption.append(counts);
  button.append(picture, caption);
  button.addEventListener("click", () => viewer.open(matching, index, filter));
  const item = document.createElement("li");
  item.append(button);
  return item;
}

// The kinds of marks that a caption counts, with their names.
function kindsOf(by) {
  if (by === "category") return gallery.categories.map((name, index) => [index + 1, name]);
  if (by === "change") return gallery.changes;
  return ["correct", ...errorKinds].map((kind) => [kind, verdictNames[kind]]);
}

function chip(name, value, label) {
  const made = document.createElement("label");
  made.className = "chip";
  const input = Object.assign(document.createElement("input"), { type: "radio", name, value });
  input.checked = value === "";
  const face = document.createElement("span");
  const count = document.createElement("small");
  Object.assign(count.dataset, { name, value });
  if (value) face.append(key(value));
  face.append(label, count);
  made.append(input, face);
  return made;
}

function restart() {
  wanted = PAGE;
  update();
}

// Arrow keys move between cards; up and down move by a whole row.
cards.addEventListener("keydown", (event) => {
  const all = [...cards.querySelectorAll(".card")];
  const from = all.indexOf(document.activeElement);
  const columns = getComputedStyle(cards).gridTemplateColumns.split(" ").length;
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
  const target = event.key in steps && all[from + steps[event.key]];
  if (!target) return;
  event.preventDefault();
  target.focus();
});

for (const button of document.querySelectorAll("button[data-table]")) {
  button.addEventListener("click", () => {
    const { table, verdict = "", change = "", category = "" } = button.dataset;
    filters.reset();
    filters.elements.table.value = table;
    filters.elements.category.value = category;
    adaptToTable();
    filters.elements.verdict.value = verdict;
    if (changes) filters.elements.change.value = change;
    coloring.value = change ? "change" : "verdict";
    restart();
    document.getElementById("gallery").scrollIntoView();
    filters.elements.table.focus({ preventScroll: true });
  });
}

filters.elements.table.append(
  ...gallery.tables.map((table) => new Option(`${table.name} (${table.split === "val" ? "validation" : "training"})`, table.key)),
);
filters.elements.category.append(new Option("all classes", ""), ...gallery.categories.map((name, index) => new Option(name, index + 1)));
verdicts.append(
  chip("verdict", "", "anything"),
  ...["correct", ...errorKinds].map((verdict) => chip("verdict", verdict, verdictNames[verdict])),
);
changes?.append(
  chip("change", "", "anything"),
  ...gallery.changes.map(([change, name]) => chip("change", change, name)),
);
// The colors show what was filtered by last.
filters.addEventListener("input", ({ target }) => {
  if (target.name in { verdict: 1, change: 1 } && target.value) coloring.value = target.name;
  restart();
});
filters.addEventListener("submit", (event) => event.preventDefault());
more.addEventListener("click", () => {
  const first = wanted;
  wanted += PAGE;
  update();
  cards.children[first]?.querySelector(".card").focus();
});
legend.append(
  ...gallery.categories.map((name, index) => {
    const entry = text("span", "entry", "");
    entry.append(keyOf({ category: index + 1 }, "category"), name);
    return entry;
  }),
);
document.getElementById("truth").hidden = !gallery.images.some((image) => image.truth.length);
if (gallery.tables.length) {
  filters.hidden = false;
  update();
}
