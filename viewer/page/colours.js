// Colour maps that are perceptually uniform by construction: a path through OKLab, walked at constant speed, so that equal
// steps of a value look equally far apart; the sequential ones grow steadily lighter, so that they survive grey printing.
// OKLab's matrices: B. Ottosson, "A perceptual color space for image processing", 2020.

function linearRgb([L, a, b]) {
  const l = (L + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (L - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (L - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
}

const isShown = (lab) => linearRgb(lab).every((channel) => channel >= -1e-4 && channel <= 1 + 1e-4);

function bytes(lab) {
  return linearRgb(lab).map((channel) => {
    const c = Math.min(1, Math.max(0, channel));
    return Math.round(255 * (c <= 0.0031308 ? 12.92 * c : 1.055 * c ** (1 / 2.4) - 0.055));
  });
}

/** Lightness, chroma, hue in degrees → Lab; the chroma is lowered until a screen can show it. */
function lab(lightness, chroma, hue) {
  const angle = (hue * Math.PI) / 180;
  let c = chroma;
  const at = () => [lightness, c * Math.cos(angle), c * Math.sin(angle)];
  while (c > 0 && !isShown(at())) c -= 0.002;
  return at();
}

const mix = (from, to, t) => from + (to - from) * t;
const distance = (p, q) => Math.hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]);

/** 256 colours at equal distances along path(t), 0 <= t <= 1. */
function walk(path, count = 256) {
  const fine = Array.from({ length: 2001 }, (_, i) => path(i / 2000));
  const length = [0];
  for (let i = 1; i < fine.length; ++i) length.push(length[i - 1] + distance(fine[i - 1], fine[i]));
  const total = length[length.length - 1];
  const table = new Uint8Array(count * 3);
  for (let i = 0, k = 0; i < count; ++i) {
    const at = (total * i) / (count - 1);
    while (k < length.length - 2 && length[k + 1] < at) ++k;
    const t = (at - length[k]) / (length[k + 1] - length[k] || 1);
    table.set(bytes(fine[k].map((value, axis) => mix(value, fine[k + 1][axis], t))), 3 * i);
  }
  return table;
}

const PATHS = {
  dusk: ["Dusk", (t) => lab(mix(0.24, 0.93, t), 0.098 * Math.sin(Math.PI * (0.22 + 0.56 * t)), mix(296, 108, t))],
  ember: ["Ember", (t) => lab(mix(0.2, 0.95, t), 0.17 * Math.sin(Math.PI * (0.1 + 0.75 * t)), mix(-10, 95, t))],
  ice: ["Ice", (t) => lab(mix(0.96, 0.32, t), 0.13 * Math.sin(Math.PI * (0.05 + 0.7 * t)), mix(215, 270, t))],
  difference: ["Difference", (t) => (t < 0.5 ? lab(mix(0.4, 0.93, 2 * t), mix(0.14, 0, 2 * t), 255) : lab(mix(0.93, 0.4, 2 * t - 1), mix(0, 0.14, 2 * t - 1), 45))],
};

const tables = new Map();
/** [{name, title}] of the maps. */
export const colourMaps = Object.entries(PATHS).map(([name, [title]]) => ({ name, title }));

/** 256 RGB triples. */
export function colourTable(name) {
  if (!tables.has(name)) tables.set(name, walk((PATHS[name] ?? PATHS.dusk)[1]));
  return tables.get(name);
}
