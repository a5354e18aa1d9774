// Which map is laid over the slides, its range and colours, and what the legend says.
import { colourMaps, colourTable } from "./colours.js";
import { GeneList } from "./genes.js";
import { maskTexture, texture } from "./grid.js";
import { histogram, percentiles, valueText } from "./units.js";

const SKIPPED = "skipped";
const find = (id) => document.getElementById(id);

export class Layers extends EventTarget {
  constructor(overlay) {
    super();
    this.overlay = overlay;
    this.kind = "none";
    this.values = null;
    this.label = "";
    this.request = 0;
    this.genes = new GeneList(find("gene-search"), find("gene-list"), (gene) => this.showGene(gene));
    for (const { name, title } of colourMaps) find("colour-map").add(new Option(title, name));
    for (const button of document.querySelectorAll("#layers button")) {
      button.addEventListener("click", () => this.show(button.dataset.layer));
    }
    find("figure").addEventListener("change", () => this.showFigure(Number(find("figure").value)));
    find("colour-map").addEventListener("change", () => this.paint());
    for (const id of ["low", "high"]) find(id).addEventListener("change", () => this.paint());
    find("range-reset").addEventListener("click", () => this.autoRange());
    find("opacity").addEventListener("input", () => overlay.set({ opacity: find("opacity").valueAsNumber / 100 }));
    for (const name of ["real", "virtual"]) {
      find(`over-on-${name}`).addEventListener("change", (event) => {
        overlay.on[name] = event.target.checked;
        overlay.drawAll();
      });
    }
    find("outlines").addEventListener("change", (event) => overlay.set({ outlines: event.target.checked }));
  }

  async open(run, grid) {
    this.run = run;
    this.grid = grid;
    this.values = null;
    this.genes.chosen = -1;
    const { figures, genes } = run.about;
    const enable = (layer, on) => {
      document.querySelector(`#layers [data-layer=${layer}]`).disabled = !on;
    };
    enable("gene", grid !== null && genes !== undefined);
    enable("figure", grid !== null && figures.length > 0);
    enable("mask", grid !== null);
    find("outlines").disabled = grid === null;
    find("figure").replaceChildren(...figures.map(({ label }, i) => new Option(label, i)));
    this.genes.setNames([]);
    if (genes !== undefined) {
      find("gene-source").textContent = `${genes.count} genes, ${genes.source}`;
      this.genes.setNames(await run.geneNames());
    }
    this.show("none");
  }

  show(kind) {
    this.kind = kind;
    this.request += 1;
    for (const button of document.querySelectorAll("#layers button")) {
      button.setAttribute("aria-checked", String(button.dataset.layer === kind));
    }
    find("gene-choice").hidden = kind !== "gene";
    find("figure-choice").hidden = kind !== "figure";
    find("map-settings").hidden = true;
    find("layer-settings").hidden = kind === "none";
    this.values = null;
    this.label = "";
    this.overlay.set({ map: null });
    if (kind === "gene") {
      this.genes.draw();
      if (this.genes.chosen >= 0) this.showGene(this.genes.chosen);
    }
    if (kind === "figure") this.showFigure(Number(find("figure").value));
    if (kind === "mask") this.showMask();
    this.dispatchEvent(new Event("changed"));
  }

  async showMask() {
    const request = this.request;
    const mask = await this.run.mask();
    if (request !== this.request) return;
    this.label = "Tissue";
    this.overlay.set({ map: maskTexture(mask, this.run.about.tiles.mask) });
    this.dispatchEvent(new Event("changed"));
  }

  showGene(index) {
    if (this.kind !== "gene") this.show("gene");
    this.genes.chosen = index;
    this.genes.draw();
    const { unit, source } = this.run.about.genes;
    return this.load(this.run.gene(index), `${this.genes.names[index]} (${source})`, unit);
  }

  showFigure(index) {
    const { label, name } = this.run.about.figures[index];
    return this.load(this.run.figure(index), label, name === SKIPPED ? "1: skipped" : "");
  }

  async load(promise, label, unit) {
    const request = ++this.request;
    find("unit").textContent = "Loading…";
    find("map-settings").hidden = false;
    let values;
    try {
      values = await promise;
    } catch (error) {
      if (request === this.request) find("unit").textContent = error.message;
      return;
    }
    if (request !== this.request) return; // another was chosen meanwhile
    this.values = values;
    this.label = label;
    find("unit").textContent = unit === "" ? label : `${label}, ${unit}`;
    this.autoRange();
  }

  autoRange() {
    if (this.values === null) return;
    const [low, high] = percentiles(this.values, 0.01, 0.99);
    find("low").value = valueText(low);
    find("high").value = valueText(high);
    this.paint();
  }

  /** [low, high] of the colours. */
  get range() {
    const [low, high] = [find("low").valueAsNumber, find("high").valueAsNumber];
    return Number.isFinite(low) && Number.isFinite(high) && high > low ? [low, high] : percentiles(this.values, 0.01, 0.99);
  }

  paint() {
    if (this.values === null || this.grid === null) return;
    const [low, high] = this.range;
    const table = colourTable(find("colour-map").value);
    const [widthMm, heightMm] = this.grid.extentMm;
    this.overlay.set({
      map: texture(this.grid.paint(this.values, low, high, table), this.grid.width, this.grid.height, widthMm, heightMm),
    });
    this.drawLegend(low, high, table);
    this.dispatchEvent(new Event("changed"));
  }

  drawLegend(low, high, table) {
    const colours = find("colours").getContext("2d");
    const strip = new ImageData(256, 1);
    for (let i = 0; i < 256; ++i) strip.data.set([table[3 * i], table[3 * i + 1], table[3 * i + 2], 255], 4 * i);
    colours.putImageData(strip, 0, 0);
    const canvas = find("histogram");
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    const counts = histogram(this.values, low, high, 64);
    const most = Math.max(1, ...counts);
    context.fillStyle = getComputedStyle(canvas).color;
    counts.forEach((count, i) => {
      const height = count === 0 ? 0 : Math.max(1, (count / most) * canvas.height);
      context.fillRect(4 * i, canvas.height - height, 3, height);
    });
  }

  /** What the map says of a tile: text, empty if nothing. */
  valueAt(tile) {
    return this.values === null || tile < 0 ? "" : `${this.label}: ${valueText(this.values[tile])}`;
  }
}
