const said = document.querySelector("output");
const percent = (w) => `${Number((100 * w).toPrecision(3))} %`;
for (const photo of document.querySelectorAll(".photo")) {
  const { rows, columns, top } = photo.dataset;
  const levels = Uint8Array.from(atob(photo.dataset.levels), (c) => c.charCodeAt(0));
  photo.addEventListener("pointermove", (event) => {
    const box = photo.getBoundingClientRect();
    const cell = (at, size, count) => Math.min(count - 1, Math.max(0, Math.floor(at / size * count)));
    const row = cell(event.clientY - box.top, box.height, rows);
    const column = cell(event.clientX - box.left, box.width, columns);
    const level = levels[row * columns + column];
    const bound = level === 255 ? "at least " : "";
    said.value = `row ${row}, column ${column}: ${bound}${percent(level / 255 * top)}`;
  });
}
for (const text of document.querySelectorAll(".text")) {
  text.addEventListener("pointerover", (event) => {
    if (event.target.title) said.value = event.target.title;
  });
}
document.querySelector("input")?.addEventListener("input", (event) => {
  document.documentElement.style.setProperty("--opacity", event.target.value);
});
