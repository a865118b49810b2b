// One image, large, with a list of its instances.
const viewer = {
  dialog: document.getElementById("viewer"),
  title: document.getElementById("viewer-title"),
  large: document.getElementById("large"),
  list: document.getElementById("instances"),
  table: document.getElementById("viewer-table"),
  coloring: document.getElementById("viewer-coloring"),
  found: document.getElementById("viewer-found"),
  truth: document.getElementById("viewer-truth"),
  images: [],
  index: 0,
  least: 0,

  open(images, index, { table: tableKey, coloring, least }) {
    this.images = images;
    this.index = index;
    this.least = least;
    this.fillTables(tableKey);
    fillColorings(this.coloring, this.table.value, coloring);
    this.draw();
    this.dialog.showModal();
  },

  fillTables(wanted) {
    const tables = gallery.tables.filter((table) => table.key in this.images[this.index].tables);
    this.table.replaceChildren(...tables.map((table) => new Option(table.name, table.key)));
    if (tables.some((table) => table.key === wanted)) this.table.value = wanted;
  },

  step(by) {
    const next = this.index + by;
    if (next < 0 || next >= this.images.length) return;
    this.index = next;
    this.fillTables(this.table.value);
    this.draw();
  },

  draw() {
    const image = this.images[this.index];
    fillColorings(this.coloring, this.table.value, this.coloring.value);
    const coloring = this.coloring.value;
    const marks = coloredMarks(marksOf(image, this.table.value), coloring, this.least);
    const shown = this.found.checked ? marks : [];
    const { picture, paths } = drawPicture(image, shown, { truth: this.truth.checked, matches: () => true, coloring });
    this.title.textContent = `${image.id} (${this.index + 1} of ${this.images.length})`;
    this.large.replaceChildren(picture);
    this.list.replaceChildren(...marks.map((mark, index) => this.entry(mark, paths[index])));
    document.getElementById("previous").disabled = this.index === 0;
    document.getElementById("next").disabled = this.index === this.images.length - 1;
  },

  entry(mark, path) {
    const item = document.createElement("li");
    item.tabIndex = 0;
    const facts = [];
    if (mark.change) facts.push(this.changeOf(mark));
    if (mark.verdict && !(mark.change && mark.verdict === "unjudged")) {
      const truth = mark.truth ? `, is ${gallery.categories[mark.truth - 1]}` : "";
      facts.push(verdictNames[mark.verdict] + truth);
    }
    if (mark.score !== undefined) facts.push(`score ${mark.score.toFixed(2)}`);
    if (mark.iou) facts.push(`IoU ${mark.iou.toFixed(2)}`);
    const line = text("span", "facts", "");
    line.append(...facts.map((fact) => text("span", "", fact)));
    item.append(keyOf(mark, this.coloring.value), text("span", "class", gallery.categories[mark.category - 1]), line);
    for (const [event, lit] of [["mouseenter", true], ["focus", true], ["mouseleave", false], ["blur", false]]) {
      item.addEventListener(event, () => path?.classList.toggle("lit", lit));
    }
    path?.addEventListener("click", () => item.focus());
    return item;
  },

  changeOf(mark) {
    const was = mark.was ? `, was ${gallery.categories[mark.was - 1]}` : "";
    const overlap = mark.overlap === undefined ? "" : `, IoU ${mark.overlap.toFixed(2)} with itself before`;
    return changeNames[mark.change] + was + overlap;
  },

  switchColoring() {
    this.coloring.selectedIndex = (this.coloring.selectedIndex + 1) % this.coloring.length;
    this.draw();
  },
};

document.getElementById("previous").addEventListener("click", () => viewer.step(-1));
document.getElementById("next").addEventListener("click", () => viewer.step(1));
document.getElementById("close").addEventListener("click", () => viewer.dialog.close());
for (const control of [viewer.table, viewer.coloring, viewer.found, viewer.truth]) control.addEventListener("change", () => viewer.draw());
viewer.dialog.addEventListener("click", (event) => {
  if (event.target === viewer.dialog) viewer.dialog.close();
});
viewer.dialog.addEventListener("keydown", (event) => {
  if (event.target instanceof HTMLSelectElement || event.ctrlKey || event.metaKey || event.altKey) return;
  const actions = {
    ArrowLeft: () => viewer.step(-1),
    ArrowRight: () => viewer.step(1),
    t: () => viewer.truth.click(),
    i: () => viewer.found.click(),
    c: () => viewer.switchColoring(),
  };
  const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action) return;
  event.preventDefault();
  action();
});
