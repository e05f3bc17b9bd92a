"use strict";
(() => {
  const data = JSON.parse(document.getElementById("gallery-data").textContent);
  const root = document.getElementById("gallery");
  const [channels, height, width] = data.shape;
  const pixels = Int8Array.from(atob(data.pixels), (c) => (c.charCodeAt(0) << 24) >> 24);
  const perPage = 24;
  const pages = Math.ceil(data.index.length / perPage);
  const part = (name) => root.querySelector(`[data-${name}]`);
  let page = 0;
  let ascending = false;

  /* colour of q in -127 .. 127, between the three colours at -127, 0 and 127 */
  function colour(q) {
    const [low, zero, high] = data.colours;
    const end = q < 0 ? low : high;
    return zero.map((z, i) => z + (end[i] - z) * Math.min(1, Math.abs(q) / 127));
  }

  /* channels side by side, one white column between them */
  function draw(canvas, position) {
    canvas.width = channels * (width + 1) - 1;
    canvas.height = height;
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, height);
    image.data.fill(255);
    const start = position * channels * height * width;
    for (let c = 0; c < channels; c++)
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++) {
          const q = pixels[start + (c * height + y) * width + x];
          image.data.set(colour(q), 4 * (y * canvas.width + c * (width + 1) + x));
        }
    context.putImageData(image, 0, 0);
  }

  function element(name, text) {
    const node = document.createElement(name);
    node.textContent = text;
    return node;
  }

  function tile(position) {
    const figure = document.createElement("figure");
    figure.className = "tile";
    const canvas = document.createElement("canvas");
    const words = [data.label[position], data.value[position], data.note[position]];
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `direction ${words.join(", ")}`);
    draw(canvas, position);
    const caption = document.createElement("figcaption");
    caption.append(element("b", words[0]), element("span", words[1]), element("span", words[2]));
    figure.append(canvas, caption);
    return figure;
  }

  /* place in the current order <-> place in the data */
  const turned = (place) => (ascending ? data.index.length - 1 - place : place);

  function show(wanted) {
    page = Math.max(0, Math.min(pages - 1, wanted));
    const count = Math.min(perPage, data.index.length - page * perPage);
    const positions = Array.from({ length: count }, (_, i) => turned(page * perPage + i));
    part("tiles").replaceChildren(...positions.map(tile));
    const first = data.label[positions[0]], last = data.label[positions[count - 1]];
    part("status").textContent = `page ${page + 1} of ${pages}: directions ${first} … ${last}`;
    part("order").textContent = ascending ? "show largest eigenvalues first" : "show smallest first (SAD order)";
    for (const name of ["first", "previous"]) root.querySelector(`[data-go=${name}]`).disabled = page === 0;
    for (const name of ["next", "last"]) root.querySelector(`[data-go=${name}]`).disabled = page === pages - 1;
  }

  /* the page with the picture of a direction, or with the nearest one that is in the file */
  function jump(direction) {
    const picture = Math.floor(direction / data.repeat);
    let nearest = 0;
    data.index.forEach((k, i) => {
      if (Math.abs(k - picture) < Math.abs(data.index[nearest] - picture)) nearest = i;
    });
    show(Math.floor(turned(nearest) / perPage));
  }

  const go = { first: () => show(0), previous: () => show(page - 1), next: () => show(page + 1), last: () => show(pages - 1) };
  for (const button of root.querySelectorAll("[data-go]")) button.addEventListener("click", go[button.dataset.go]);
  part("jump").max = data.total * data.repeat - 1;
  part("jump").addEventListener("change", (event) => jump(Number(event.target.value) || 0));
  part("order").addEventListener("click", () => { ascending = !ascending; show(0); });
  document.addEventListener("keydown", (event) => {
    if (event.target.tagName === "INPUT" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft") go.previous();
    if (event.key === "ArrowRight") go.next();
  });
  root.hidden = false;
  show(0);
})();
