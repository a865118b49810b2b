// An image of the gallery as SVG: its pixels, and the outlines of instances over them.
const SVG = "http://www.w3.org/2000/svg";
const gallery = JSON.parse(document.getElementById("gallery-data").textContent);
const verdictNames = {
  correct: "correct", missed: "missed", duplicate: "duplicate", wrong_class: "wrong class",
  poor_mask: "poor mask", background: "background", ignored: "ignored", unjudged: "not judged",
};
const errorKinds = ["missed", "duplicate", "wrong_class", "poor_mask", "background"];
const cssName = (verdict) => verdict.replace("_", "-");

// The marks of an image in one table: what was found, and the true objects that were missed.
function marksOf(image, tableKey) {
  const table = image.tables[tableKey];
  if (!table) return [];
  const found = table.found.map((each) => ({ verdict: "unjudged", ...each }));
  const missed = table.missed.map((index) => ({ ...image.truth[index], verdict: "missed" }));
  return [...found, ...missed];
}

function drawPicture(image, marks, { truth, matches }) {
  const svg = element("svg", { viewBox: `0 0 ${image.width} ${image.height}`, "aria-hidden": "true" });
  svg.append(element("image", { href: image.src, width: image.width, height: image.height, preserveAspectRatio: "none" }));
  const paths = marks.map((mark) => {
    const path = element("path", { d: mark.path, class: cssName(mark.verdict) });
    path.classList.toggle("faded", !matches(mark));
    return path;
  });
  svg.append(...paths);
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

function key(verdict) {
  return text("span", `key ${cssName(verdict)}`, "");
}
