// An image of the gallery as SVG: its pixels, with the outlines of instances over them.
const SVG = "http://www.w3.org/2000/svg";
const gallery = JSON.parse(document.getElementById("gallery-data").textContent);
const verdictNames = {
  correct: "correct", missed: "missed", duplicate: "duplicate", wrong_class: "wrong class",
  poor_mask: "poor mask", background: "background", ignored: "ignored", unjudged: "not judged",
};
const errorKinds = ["missed", "duplicate", "wrong_class", "poor_mask", "background"];
const changeNames = Object.fromEntries(gallery.changes);
const cssName = (kind) => kind.replace("_", "-");
const tableOf = (tableKey) => gallery.tables.find((each) => each.key === tableKey);

// The marks of an image in one table: the instances found, the true objects that were missed, and the labels of the
// other version that vanished. A mark has a verdict, a change, or both.
function marksOf(image, tableKey) {
  const table = image.tables[tableKey];
  if (!table) return [];
  const found = table.found.map((each) => ({ verdict: "unjudged", ...each }));
  const missed = table.missed.map((index) => ({ ...image.truth[index], verdict: "missed" }));
  return [...found, ...missed, ...(table.vanished ?? [])];
}

// What colors can show of a table: its errors if there is a truth, its classes, and its changes if it was compared.
function colorings(table) {
  return [
    ...(table?.judged ? [["verdict", "errors"]] : []),
    ["category", "classes"],
    ...(table?.compared ? [["change", "changes"]] : []),
  ];
}

// The marks that a coloring is about; classes are those of what was found, from a score on.
function coloredMarks(marks, coloring, least) {
  const isFound = (mark) => mark.verdict !== "missed" && mark.change !== "vanished";
  const about = marks.filter((mark) => (coloring === "category" ? isFound(mark) : mark[coloring]));
  return about.filter((mark) => isScored(mark, least));
}

const isScored = (mark, least) => mark.score === undefined || mark.score >= least;

const classOf = (mark, coloring) => (coloring === "category" ? "of-class" : cssName(mark[coloring]));

function paint(shape, mark, coloring) {
  if (coloring === "category") shape.style.setProperty("--mark", gallery.colors[mark.category - 1]);
  return shape;
}

function fillColorings(select, tableKey, wanted) {
  const known = colorings(tableOf(tableKey));
  select.replaceChildren(...known.map(([value, name]) => new Option(name, value)));
  if (known.some(([value]) => value === wanted)) select.value = wanted;
  select.parentElement.hidden = known.length < 2;
}

// Draw the marks that have what `coloring` shows; the paths are in the order of these marks.
function drawPicture(image, marks, { truth, matches, coloring }) {
  const svg = element("svg", { viewBox: `0 0 ${image.width} ${image.height}`, "aria-hidden": "true" });
  svg.append(element("image", { href: image.src, width: image.width, height: image.height, preserveAspectRatio: "none" }));
  const paths = marks.map((mark) => {
    const path = paint(element("path", { d: mark.path, class: classOf(mark, coloring) }), mark, coloring);
    path.classList.toggle("faded", !matches(mark));
    return path;
  });
  const earlier = coloring === "change" ? marks.filter((mark) => mark.earlier) : [];
  svg.append(...paths, ...earlier.map((mark) => {
    const path = element("path", { d: mark.earlier, class: `${cssName(mark.change)} earlier` });
    path.classList.toggle("faded", !matches(mark));
    return path;
  }));
  if (truth) svg.append(...image.truth.map((each) => element("path", { d: each.path, class: "truth" })));
  const picture = document.createElement("span");
  picture.className = "picture";
  picture.append(svg);
  return { picture, paths };
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function text(tag, className, content) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = content;
  return made;
}

// A sample of how a mark is drawn.
function keyOf(mark, coloring) {
  return coloring === "category" ? paint(text("span", "key of-class", ""), mark, coloring) : key(mark[coloring]);
}

// A sample of a kind of mark: a change has its own line style, an error its own color.
function key(kind) {
  if (!(kind in changeNames)) return text("span", `key ${cssName(kind)}`, "");
  const svg = element("svg", { viewBox: "0 0 24 14", "aria-hidden": "true" });
  svg.append(element("path", { d: "M2 2H22V12H2Z", class: cssName(kind) }));
  const sample = text("span", "picture sample", "");
  sample.append(svg);
  return sample;
}
