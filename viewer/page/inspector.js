// The tile that was clicked: both patches, the genes that stand out, the figures.
import { drawPatch } from "./patch.js";
import { placeText, valueText } from "./units.js";

const find = (id) => document.getElementById(id);

function row(cells, onClick) {
  const line = document.createElement("tr");
  cells.forEach((text, i) => {
    const cell = document.createElement(i === 0 ? "th" : "td");
    if (i === 0) cell.scope = "row";
    if (i === 0 && onClick) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "link";
      button.textContent = text;
      button.title = `Show ${text} over the tissue`;
      button.addEventListener("click", onClick);
      cell.append(button);
    } else cell.textContent = text;
    line.append(cell);
  });
  return line;
}

export class Inspector {
  constructor(layers) {
    this.layers = layers;
    this.tile = -1;
    this.request = 0;
  }

  open(run, grid) {
    this.run = run;
    this.grid = grid;
    this.show(-1);
  }

  async show(tile) {
    this.tile = tile;
    const request = ++this.request;
    const isCurrent = () => request === this.request;
    find("tile-empty").hidden = tile >= 0;
    find("tile-details").hidden = tile < 0;
    if (tile < 0) return;
    const { run, grid } = this;
    const corner = grid.cornerMm(tile);
    const [column, line] = [grid.cells[2 * tile], grid.cells[2 * tile + 1]];
    const sideUm = Math.round(grid.tileMm * 1000);
    find("tile-place").textContent = `${placeText(corner[0] * 1000, corner[1] * 1000)} · ${sideUm} µm wide · cell ${column}, ${line}`;
    for (const name of ["real", "virtual"]) {
      drawPatch(find(`patch-${name}`), run, name, corner, grid.tileMm, isCurrent);
    }
    find("patch-real").closest("figure").hidden = run.about.real === undefined;
    const figures = await Promise.all(run.about.figures.map((_, i) => run.figure(i)));
    if (!isCurrent()) return;
    find("tile-figures").tBodies[0].replaceChildren(...run.about.figures.map(({ label }, i) => row([label, valueText(figures[i][tile])])));
    find("tile-genes").hidden = run.about.genes === undefined;
    if (run.about.genes === undefined) return;
    const [names, top] = await Promise.all([run.geneNames(), run.topGenes(tile)]);
    if (!isCurrent()) return;
    const lines = top.map(([gene, value, z]) => row([names[gene], valueText(value), z.toFixed(1)], () => this.layers.showGene(gene)));
    find("tile-genes").tBodies[0].replaceChildren(...(lines.length > 0 ? lines : [row(["No expression here"])]));
  }
}
