// Step through the values of a chart with the pointer, or with the arrow keys when the chart has the focus.
for (const plot of document.querySelectorAll(".plot")) {
  const numbers = JSON.parse(plot.dataset.numbers);
  const svg = plot.querySelector("svg");
  const cursor = plot.querySelector(".cursor");
  const readout = plot.parentElement.querySelector(".readout");
  const last = numbers.x.length - 1;
  let step = -1;

  function show(index) {
    step = Math.min(Math.max(index, 0), last);
    const known = numbers.lines.filter((line) => line.values[step] !== null);
    cursor.setAttribute("x1", numbers.at[step]);
    cursor.setAttribute("x2", numbers.at[step]);
    plot.classList.add("stepping");
    const heading = `${plot.dataset.label} ${numbers.x[step]}`;
    readout.replaceChildren(part(heading), ...known.map((line) => part(`${line.name} ${line.values[step]}`, line.color)));
    plot.setAttribute("aria-valuenow", step);
    plot.setAttribute("aria-valuetext", [heading, ...known.map((line) => `${line.name} ${line.values[step]}`)].join(", "));
  }

  function part(text, color) {
    const span = document.createElement("span");
    if (color) {
      const swatch = document.createElement("span");
      swatch.className = `swatch ${color}`;
      span.append(swatch);
    }
    span.append(text);
    return span;
  }

  function hide() {
    plot.classList.remove("stepping");
    readout.replaceChildren();
    step = -1;
  }

  plot.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const place = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const distances = numbers.at.map((at) => Math.abs(at - place));
    show(distances.indexOf(Math.min(...distances)));
  });
  plot.addEventListener("pointerleave", hide);
  plot.addEventListener("blur", hide);
  plot.addEventListener("keydown", (event) => {
    const wanted = { ArrowRight: step + 1, ArrowUp: step + 1, ArrowLeft: step - 1, ArrowDown: step - 1, Home: 0, End: last };
    if (event.key === "Escape") hide();
    if (!(event.key in wanted)) return;
    event.preventDefault();
    show(wanted[event.key]);
  });
}
