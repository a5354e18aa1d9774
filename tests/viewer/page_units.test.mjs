// The page's own arithmetic, without a browser: node --test tests/viewer/page_units.test.mjs
import assert from "node:assert/strict";
import test from "node:test";

import { colourMaps, colourTable } from "../../viewer/page/colours.js";
import { search } from "../../viewer/page/genes.js";
import { TileGrid } from "../../viewer/page/grid.js";
import * as units from "../../viewer/page/units.js";

test("a scale bar is the longest 1, 2 or 5 that fits", () => {
  for (let mpp = 0.02; mpp < 60; mpp *= 1.17) {
    const { um, px, text } = units.scaleBar(mpp, 140);
    assert.ok(px <= 140 + 1e-6 && px > 140 / 2.51, `${px} px`);
    assert.ok(Math.abs(um / mpp - px) < 1e-9);
    assert.match(text, /^[125]0*( µm| mm)$|^0\.0*[125] (µm|mm)$/);
  }
  assert.equal(units.scaleBar(1, 140).text, "100 µm");
  assert.equal(units.scaleBar(20, 140).text, "2 mm");
});

test("10x is a µm a pixel", () => {
  assert.equal(units.micronsPerPixel(10), 1);
  assert.equal(units.magnificationOf(0.25), 40);
  assert.equal(units.magnificationText(9.97), "10×");
  assert.equal(units.magnificationText(2.345), "2.3×");
});

test("angles stay within half a turn", () => {
  assert.equal(units.turned(-15), -15);
  assert.equal(units.turned(345), -15);
  assert.equal(units.turned(540), 180);
});

test("halves are decoded as IEEE 754 has them", () => {
  const bytes = new Uint16Array([0x0000, 0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00, 0x7e00, 0x3555]);
  const values = units.decodeHalves(bytes.buffer);
  assert.deepEqual([...values.slice(0, 4)], [0, 1, -2, 65504]);
  assert.equal(values[4], 2 ** -24);
  assert.equal(values[5], Infinity);
  assert.ok(Number.isNaN(values[6]));
  assert.ok(Math.abs(values[7] - 1 / 3) < 1e-4);
});

test("percentiles pass over what is missing and never give an empty range", () => {
  const values = new Float32Array([NaN, 3, 1, 2, NaN]);
  assert.deepEqual(units.percentiles(values, 0, 1), [1, 3]);
  assert.deepEqual(units.percentiles(new Float32Array([NaN]), 0, 1), [0, 1]);
  assert.deepEqual(units.percentiles(new Float32Array([5, 5]), 0.01, 0.99), [5, 6]);
  const mostlyZero = new Float32Array(1000);
  mostlyZero[7] = 4;
  assert.deepEqual(units.percentiles(mostlyZero, 0.01, 0.99), [0, 4]);
});

test("a histogram counts each value in the range once", () => {
  assert.deepEqual(units.histogram([0, 0.1, 1, 2, -1, NaN], 0, 1, 2), [2, 1]);
});

// CIE Lab of an sRGB triple: another space than the one the maps were made in.
function lab([r, g, b]) {
  const [lr, lg, lb] = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  const f = (t) => (t > 216 / 24389 ? Math.cbrt(t) : ((24389 / 27) * t + 16) / 116);
  const x = f((0.4124 * lr + 0.3576 * lg + 0.1805 * lb) / 0.95047);
  const y = f(0.2126 * lr + 0.7152 * lg + 0.0722 * lb);
  const z = f((0.0193 * lr + 0.1192 * lg + 0.9505 * lb) / 1.08883);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}
const colour = (table, i) => [table[3 * i], table[3 * i + 1], table[3 * i + 2]];

test("equal steps of a colour map look equally far apart, and sequential ones go one way in lightness", () => {
  for (const { name } of colourMaps) {
    const table = colourTable(name);
    const steps = [];
    for (let i = 0; i + 8 < 256; i += 8) {
      const [p, q] = [lab(colour(table, i)), lab(colour(table, i + 8))];
      steps.push(Math.hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]));
    }
    const mean = steps.reduce((sum, step) => sum + step) / steps.length;
    for (const step of steps) assert.ok(step > 0.4 * mean && step < 2 * mean, `${name}: a step of ${step}, mean ${mean}`);
    if (name === "difference") continue;
    const light = Array.from({ length: 256 }, (_, i) => lab(colour(table, i))[0]);
    const sign = Math.sign(light[255] - light[0]);
    for (let i = 8; i < 256; i += 8) assert.ok(sign * (light[i] - light[i - 8]) > 0, `${name} at ${i}`);
  }
});

test("a difference is symmetrical: its middle is the lightest and grey", () => {
  const table = colourTable("difference");
  const middle = lab(colour(table, 127));
  assert.ok(middle[0] > 88 && Math.hypot(middle[1], middle[2]) < 6);
});

test("genes that begin with the text come first, whatever the case", () => {
  const names = ["AMITF", "MITF", "CD8A", "mitf2", "CD8B"];
  assert.deepEqual(search(names, "mitf").map((i) => names[i]), ["MITF", "mitf2", "AMITF"]);
  assert.equal(search(names, "").length, 5);
  assert.equal(search(names, "zzz").length, 0);
});

test("ten thousand genes are searched within a frame", () => {
  const names = Array.from({ length: 10000 }, (_, i) => `GENE${i}`);
  search(names, "9");
  const start = performance.now();
  for (let i = 0; i < 10; ++i) search(names, "99");
  assert.ok((performance.now() - start) / 10 < 50, "even on a busy machine");
});

test("the tile under a place is the one whose square holds it", () => {
  const grid = new TileGrid(new Int32Array([0, 0, 2, 0, 4, 2]), 0.09);
  assert.equal(grid.at(0.01, 0.01), 0);
  assert.equal(grid.at(0.1, 0.08), 1);
  assert.equal(grid.at(0.2, 0.1), 2);
  assert.equal(grid.at(0.2, 0.01), -1);
  assert.equal(grid.at(-0.01, 0.01), -1);
  for (let tile = 0; tile < 3; ++tile) {
    const [x, y] = grid.cornerMm(tile);
    assert.equal(grid.at(x + 0.001, y + 0.001), tile);
  }
  assert.deepEqual(grid.extentMm.map((mm) => Number(mm.toFixed(6))), [0.27, 0.18]);
});

test("a map has a pixel a tile, and none where there is no value", () => {
  const table = colourTable("dusk");
  const grid = new TileGrid(new Int32Array([0, 0, 2, 0, 4, 2]), 0.09);
  const pixels = grid.paint(new Float32Array([0, NaN, 9]), 0, 1, table);
  assert.deepEqual([grid.width, grid.height], [3, 2]);
  assert.deepEqual([...pixels.slice(0, 4)], [...colour(table, 0), 255]);
  assert.equal(pixels[7], 0);
  assert.deepEqual([...pixels.slice(20, 24)], [...colour(table, 255), 255]);
});

test("tiles at half tiles are two by two pixels", () => {
  const grid = new TileGrid(new Int32Array([0, 0, 3, 1]), 0.09);
  const pixels = grid.paint(new Float32Array([1, 0]), 0, 1, colourTable("dusk"));
  assert.deepEqual([grid.width, grid.height], [5, 3]);
  assert.equal(pixels.filter((_, i) => i % 4 === 3 && pixels[i] === 255).length, 8);
  assert.equal(grid.at(0.14, 0.05), 1);
});

test("sixty thousand tiles are painted within some frames", () => {
  const cells = new Int32Array(120000);
  for (let i = 0; i < 60000; ++i) cells.set([2 * (i % 300), 2 * Math.floor(i / 300)], 2 * i);
  const grid = new TileGrid(cells, 0.09);
  const values = Float32Array.from({ length: 60000 }, (_, i) => i % 97);
  grid.paint(values, 0, 96, colourTable("dusk"));
  const start = performance.now();
  grid.paint(values, 0, 96, colourTable("dusk"));
  assert.ok(performance.now() - start < 200, "even on a busy machine");
});
