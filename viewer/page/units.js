// Lengths, magnifications and what is written about them. Nothing here touches the page.

/** µm a pixel of the screen at a magnification: 10x is 1 µm by pathologists' convention. */
export const micronsPerPixel = (magnification) => 10 / magnification;
export const magnificationOf = (micronsAPixel) => 10 / micronsAPixel;

/** The longest of 1, 2, 5 · 10^n µm that is at most `longest` pixels long. */
export function scaleBar(micronsAPixel, longest) {
  const most = micronsAPixel * longest;
  const power = 10 ** Math.floor(Math.log10(most));
  const um = [5, 2, 1].map((step) => step * power).find((length) => length <= most * (1 + 1e-9));
  return { um, px: um / micronsAPixel, text: lengthText(um) };
}

/** "50 µm", "2 mm", "0.2 µm" */
export function lengthText(um) {
  if (um >= 1000) return `${Number((um / 1000).toPrecision(3))} mm`;
  return `${Number(um.toPrecision(3))} µm`;
}

/** "12,345" with thin spaces: no one takes them for decimals. */
export function grouped(value) {
  return Math.round(value).toString().replace(/\B(?=(\d{3})+(?!\d))/g, "\u2009");
}

export const placeText = (xUm, yUm) => `x ${grouped(xUm)} µm, y ${grouped(yUm)} µm`;

export function magnificationText(magnification) {
  return `${magnification >= 9.95 ? Math.round(magnification) : Number(magnification.toPrecision(2))}×`;
}

export function valueText(value) {
  if (Number.isNaN(value)) return "none";
  if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(1);
  return Number(value.toPrecision(3)).toString();
}

/** Degrees in (−180, 180]. */
export function turned(degrees) {
  const within = ((degrees % 360) + 360) % 360;
  return within > 180 ? within - 360 : within;
}

let halves = null;
/** IEEE binary16, little-endian → Float32Array. */
export function decodeHalves(buffer) {
  if (halves === null) {
    halves = new Float32Array(65536);
    for (let i = 0; i < 65536; ++i) {
      const sign = i & 0x8000 ? -1 : 1;
      const exponent = (i >> 10) & 31;
      const mantissa = i & 1023;
      if (exponent === 31) halves[i] = mantissa === 0 ? sign * Infinity : NaN;
      else if (exponent === 0) halves[i] = sign * mantissa * 2 ** -24;
      else halves[i] = sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
    }
  }
  const view = new DataView(buffer);
  const values = new Float32Array(buffer.byteLength >> 1);
  for (let i = 0; i < values.length; ++i) values[i] = halves[view.getUint16(2 * i, true)];
  return values;
}

/** The values at the shares `low` and `high` of those that are numbers; a span of some width in any case. */
export function percentiles(values, low, high) {
  const known = values.filter((value) => !Number.isNaN(value)).sort();
  if (known.length === 0) return [0, 1];
  const at = (share) => known[Math.round(share * (known.length - 1))];
  let [from, to] = [at(low), at(high)];
  if (to <= from) [from, to] = [known[0], known[known.length - 1]];
  return to > from ? [from, to] : [from, from + 1];
}

/** How many of the values fall into each of `bins` equal parts of [low, high]; what is outside is left out. */
export function histogram(values, low, high, bins) {
  const counts = new Array(bins).fill(0);
  for (const value of values) {
    if (!(value >= low && value <= high)) continue;
    counts[Math.min(bins - 1, Math.floor(((value - low) / (high - low)) * bins))] += 1;
  }
  return counts;
}
