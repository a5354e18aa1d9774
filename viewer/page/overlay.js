// What is drawn over a pane: the map, the outlines of tiles, the tile that is looked at, and the notice over the virtual
// slide. One canvas a pane, drawn anew in each frame that moves; a map is one drawImage.

export const NOTICE = "SYNTHETIC – NOT FOR DIAGNOSIS";
const MOST_OUTLINES = 6000;

/** The notice in rows over w x h pixels, pale enough to see the tissue through. */
export function drawNotice(context, width, height) {
  context.save();
  context.font = "600 15px system-ui, 'DejaVu Sans', sans-serif";
  context.textBaseline = "middle";
  const text = NOTICE;
  const step = context.measureText(text).width + 90;
  context.rotate(-Math.PI / 9);
  const reach = Math.hypot(width, height);
  context.fillStyle = "rgba(122, 47, 99, 0.30)";
  context.strokeStyle = "rgba(255, 255, 255, 0.35)";
  context.lineWidth = 2.5;
  for (let row = 0, y = -reach; y < reach; y += 130, ++row) {
    for (let x = -reach + (row % 2) * (step / 2); x < reach; x += step) {
      context.strokeText(text, x, y);
      context.fillText(text, x, y);
    }
  }
  context.restore();
}

/** Draws into a context whose unit is a pixel of the pane; `transform` maps mm to it. */
export function drawOver(context, size, transform, what) {
  const { map, opacity, grid, outlines, hovered, picked } = what;
  const millimetre = Math.hypot(transform[0], transform[1]);
  context.save();
  context.transform(...transform);
  if (map !== null) {
    context.globalAlpha = opacity;
    context.imageSmoothingEnabled = false;
    context.drawImage(map.canvas, 0, 0, map.widthMm, map.heightMm);
    context.globalAlpha = 1;
  }
  if (grid !== null) {
    const side = grid.tileMm;
    const box = (tile) => [...grid.cornerMm(tile), side, side];
    if (outlines && side * millimetre > 6) {
      context.strokeStyle = "rgba(20, 24, 30, 0.55)";
      context.lineWidth = 1 / millimetre;
      context.beginPath();
      for (let tile = 0, drawn = 0; tile < grid.count && drawn < MOST_OUTLINES; ++tile) {
        const [x, y] = grid.cornerMm(tile);
        const px = transform[0] * (x + side / 2) + transform[2] * (y + side / 2) + transform[4];
        const py = transform[1] * (x + side / 2) + transform[3] * (y + side / 2) + transform[5];
        const margin = side * millimetre;
        if (px < -margin || py < -margin || px > size[0] + margin || py > size[1] + margin) continue;
        context.rect(x, y, side, side);
        drawn += 1;
      }
      context.stroke();
    }
    for (const [tile, colour, width] of [[hovered, "rgba(255,255,255,0.9)", 1.5], [picked, "#e0559f", 2.5]]) {
      if (tile < 0) continue;
      context.strokeStyle = "rgba(20,24,30,0.6)";
      context.lineWidth = (width + 2) / millimetre;
      context.strokeRect(...box(tile));
      context.strokeStyle = colour;
      context.lineWidth = width / millimetre;
      context.strokeRect(...box(tile));
    }
  }
  context.restore();
}

export class Overlay {
  constructor(panes) {
    this.panes = panes;
    this.what = { map: null, opacity: 0.65, grid: null, outlines: false, hovered: -1, picked: -1 };
    this.on = { real: true, virtual: true };
    panes.addEventListener("draw", (event) => this.draw(event.detail));
    panes.addEventListener("mode", () => this.drawAll());
  }

  set(change) {
    Object.assign(this.what, change);
    this.drawAll();
  }

  drawAll() {
    for (const name of Object.keys(this.panes.viewers)) this.draw(name);
  }

  /** What a pane shows of it. */
  shown(name) {
    return this.on[name] ? this.what : { ...this.what, map: null };
  }

  draw(name) {
    const canvas = this.panes.elements[name].querySelector(".over");
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (width === 0 || height === 0) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    drawOver(context, [width, height], this.panes.transform(name), this.shown(name));
    if (name === "virtual") drawNotice(context, width, height);
  }
}
