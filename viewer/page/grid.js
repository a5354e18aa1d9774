// The tile grid, and maps over it as textures: a map is one small picture, whatever the number of tiles.

export class TileGrid {
  /** `cells`: column, row of each tile in half tiles; `tileMm`: a tile's side. */
  constructor(cells, tileMm) {
    this.cells = cells;
    this.count = cells.length / 2;
    this.tileMm = tileMm;
    this.byCell = new Map();
    let [right, bottom] = [0, 0];
    this.isWhole = true;
    for (let i = 0; i < this.count; ++i) {
      const [column, row] = [cells[2 * i], cells[2 * i + 1]];
      this.byCell.set(row * 65536 + column, i);
      right = Math.max(right, column);
      bottom = Math.max(bottom, row);
      if (column % 2 !== 0 || row % 2 !== 0) this.isWhole = false;
    }
    // A pixel is a tile, or half of one where tiles lie at half tiles.
    this.step = this.isWhole ? 2 : 1;
    this.width = Math.floor(right / this.step) + 2 / this.step;
    this.height = Math.floor(bottom / this.step) + 2 / this.step;
  }

  /** Millimetres of the texture. */
  get extentMm() {
    return [(this.width * this.step * this.tileMm) / 2, (this.height * this.step * this.tileMm) / 2];
  }

  /** Top-left corner of a tile, mm. */
  cornerMm(tile) {
    return [(this.cells[2 * tile] * this.tileMm) / 2, (this.cells[2 * tile + 1] * this.tileMm) / 2];
  }

  /** The tile at a place, or −1. */
  at(xMm, yMm) {
    const [column, row] = [Math.floor((2 * xMm) / this.tileMm), Math.floor((2 * yMm) / this.tileMm)];
    // A tile is two half tiles wide: it may begin one before.
    for (const r of [row, row - 1]) {
      for (const c of [column, column - 1]) {
        if (c < 0 || r < 0) continue;
        const tile = this.byCell.get(r * 65536 + c);
        if (tile !== undefined) return tile;
      }
    }
    return -1;
  }

  /** RGBA pixels of a map: values [tiles] between low and high as colours; none where there is no value. */
  paint(values, low, high, table) {
    const pixels = new Uint8ClampedArray(this.width * this.height * 4);
    const side = 2 / this.step;
    for (let i = 0; i < this.count; ++i) {
      const value = values[i];
      if (Number.isNaN(value)) continue;
      const colour = Math.round(255 * Math.min(1, Math.max(0, (value - low) / (high - low))));
      const [x, y] = [this.cells[2 * i] / this.step, this.cells[2 * i + 1] / this.step];
      for (let dy = 0; dy < side; ++dy) {
        for (let dx = 0; dx < side; ++dx) {
          const at = 4 * ((y + dy) * this.width + x + dx);
          pixels[at] = table[3 * colour];
          pixels[at + 1] = table[3 * colour + 1];
          pixels[at + 2] = table[3 * colour + 2];
          pixels[at + 3] = 255;
        }
      }
    }
    return pixels;
  }
}

/** A picture of RGBA pixels to be drawn over [0, widthMm] x [0, heightMm]. */
export function texture(pixels, width, height, widthMm, heightMm) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
  return { canvas, widthMm, heightMm };
}

/** The tissue mask: one colour where there is tissue. */
export function maskTexture(mask, { width, height, mpp }) {
  const pixels = new Uint8ClampedArray(width * height * 4);
  for (let i = 0; i < mask.length; ++i) {
    if (mask[i] !== 0) pixels.set([22, 122, 150, 255], 4 * i);
  }
  return texture(pixels, width, height, (width * mpp) / 1000, (height * mpp) / 1000);
}
