// The cards of the gallery and what they are filtered by.
const PAGE = 24;
const filters = document.getElementById("filters");
const cards = document.getElementById("cards");
const more = document.getElementById("more");
const verdicts = document.getElementById("verdicts");
let matching = [];
let wanted = PAGE;

function currentFilter() {
  const values = new FormData(filters);
  return {
    table: values.get("table"),
    category: Number(values.get("category")),
    verdict: values.get("verdict"),
    query: values.get("query").trim().toLowerCase(),
    truth: values.get("truth") === "on",
  };
}

// A mark matches by class and verdict; without either, every image of the table does, also an empty one.
function markMatches(mark, { category, verdict }) {
  return (!category || mark.category === category) && (!verdict || mark.verdict === verdict);
}

function imageMatches(image, filter) {
  if (!(filter.table in image.tables)) return false;
  if (filter.query && !image.id.toLowerCase().includes(filter.query)) return false;
  if (!filter.category && !filter.verdict) return true;
  if (!filter.verdict && image.truth.some((each) => each.category === filter.category)) return true;
  return marksOf(image, filter.table).some((mark) => markMatches(mark, filter));
}

function update() {
  const filter = currentFilter();
  const table = gallery.tables.find((each) => each.key === filter.table);
  verdicts.hidden = !table?.judged;
  matching = gallery.images.filter((image) => imageMatches(image, filter));
  const ofTable = gallery.images.filter((image) => filter.table in image.tables).length;
  document.getElementById("found").textContent =
    `${matching.length} of ${ofTable} images shown here match` + (matching.length > wanted ? `, the first ${wanted}:` : ":");
  for (const small of verdicts.querySelectorAll("small")) {
    const verdict = small.dataset.verdict;
    small.textContent = gallery.images.filter((image) => imageMatches(image, { ...filter, verdict })).length;
  }
  cards.replaceChildren(...matching.slice(0, wanted).map((image, index) => card(image, index, filter)));
  more.hidden = matching.length <= wanted;
}

function card(image, index, filter) {
  const marks = marksOf(image, filter.table);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "card";
  const narrowed = filter.category || filter.verdict;
  const { picture } = drawPicture(image, marks, {
    truth: filter.truth,
    matches: (mark) => !narrowed || markMatches(mark, filter),
  });
  const caption = text("span", "caption", image.id);
  const counts = text("span", "counts", "");
  for (const verdict of ["correct", ...errorKinds]) {
    const count = marks.filter((mark) => mark.verdict === verdict).length;
    if (!count) continue;
    const part = text("span", "", "");
    part.append(key(verdict), `${count}`);
    part.title = `${count} ${verdictNames[verdict]}`;
    counts.append(part);
  }
  const said = [...counts.children].map((part) => part.title).join(", ");
  button.setAttribute("aria-label", `${image.id}${said ? `: ${said}` : ""}`);
  caption.append(counts);
  button.append(picture, caption);
  button.addEventListener("click", () => viewer.open(matching, index, filter.table));
  const item = document.createElement("li");
  item.append(button);
  return item;
}

function chip(value, label) {
  const made = document.createElement("label");
  made.className = "chip";
  const input = Object.assign(document.createElement("input"), { type: "radio", name: "verdict", value });
  input.checked = value === "";
  const face = document.createElement("span");
  const count = document.createElement("small");
  count.dataset.verdict = value;
  if (value) face.append(key(value));
  face.append(label, count);
  made.append(input, face);
  return made;
}

function restart() {
  wanted = PAGE;
  update();
}

// Arrow keys move between cards, as many at a time as a row has for up and down.
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

for (const button of document.querySelectorAll("button[data-verdict]")) {
  button.addEventListener("click", () => {
    filters.reset();
    filters.elements.table.value = button.dataset.table;
    filters.elements.verdict.value = button.dataset.verdict;
    restart();
    document.getElementById("gallery").scrollIntoView();
    filters.elements.table.focus({ preventScroll: true });
  });
}

filters.elements.table.append(
  ...gallery.tables.map((table) => new Option(`${table.name} (${table.split === "val" ? "validation" : "training"})`, table.key)),
);
filters.elements.category.append(new Option("all classes", ""), ...gallery.categories.map((name, index) => new Option(name, index + 1)));
verdicts.append(chip("", "anything"), chip("correct", "correct"), ...errorKinds.map((verdict) => chip(verdict, verdictNames[verdict])));
filters.addEventListener("input", restart);
filters.addEventListener("submit", (event) => event.preventDefault());
more.addEventListener("click", () => {
  const first = wanted;
  wanted += PAGE;
  update();
  cards.children[first]?.querySelector(".card").focus();
});
if (gallery.tables.length) {
  filters.hidden = false;
  update();
}
