// The view as one picture: what is on the screen, a scale bar, a caption, and SYNTHETIC wherever the virtual slide is.
import { NOTICE, drawNotice, drawOver } from "./overlay.js";
import { scaleBar } from "./units.js";

const FOOT = 64;
const FONT = "system-ui, 'DejaVu Sans', sans-serif";

function badge(context, text, x, y, colour) {
  context.font = `600 13px ${FONT}`;
  const width = context.measureText(text).width + 20;
  context.fillStyle = colour;
  context.fillRect(x, y, width, 26);
  context.fillStyle = "#fff";
  context.textBaseline = "middle";
  context.fillText(text, x + 10, y + 13.5);
}

function drawPane(context, panes, overlay, name, [width, height]) {
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(panes.viewers[name].drawer.canvas, 0, 0, width, height);
  drawOver(context, [width, height], panes.transform(name), overlay.shown(name));
}

/** A canvas. `caption`: lines under the picture. */
export function takePicture(panes, overlay, caption) {
  const ratio = window.devicePixelRatio || 1;
  const side = panes.mode === "side" && panes.hasReal;
  const pane = panes.elements.virtual;
  const [width, height] = [pane.clientWidth, pane.clientHeight];
  const total = side ? 2 * width + 2 : width;
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(total * ratio);
  canvas.height = Math.round((height + FOOT) * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, total, height + FOOT);

  const draw = (name, left, clipFrom, alpha) => {
    context.save();
    context.beginPath();
    context.rect(left + clipFrom, 0, width - clipFrom, height);
    context.clip();
    context.translate(left, 0);
    context.globalAlpha = alpha;
    if (alpha < 1) {
      // As a whole, so that the map is not blended twice.
      const layer = document.createElement("canvas");
      layer.width = Math.round(width * ratio);
      layer.height = Math.round(height * ratio);
      const inner = layer.getContext("2d");
      inner.scale(ratio, ratio);
      drawPane(inner, panes, overlay, name, [width, height]);
      context.drawImage(layer, 0, 0, width, height);
    } else drawPane(context, panes, overlay, name, [width, height]);
    context.globalAlpha = 1;
    if (name === "virtual") drawNotice(context, width, height);
    context.restore();
  };
  const right = side ? width + 2 : 0;
  if (panes.hasReal) draw("real", 0, 0, 1);
  const showsVirtual = panes.showsVirtual;
  if (showsVirtual) {
    const from = panes.mode === "swipe" ? panes.swipe * width : 0;
    draw("virtual", right, from, panes.mode === "fade" ? panes.fade : 1);
    if (panes.mode === "swipe") {
      context.fillStyle = "#7a2f63";
      context.fillRect(from - 1, 0, 2, height);
    }
  }
  if (panes.hasReal) badge(context, "Real", 12, 12, "#2f4858");
  if (showsVirtual) {
    const text = `Virtual · ${NOTICE}`;
    context.font = `600 13px ${FONT}`;
    badge(context, text, total - context.measureText(text).width - 32, 12, "#7a2f63");
  }

  const bar = scaleBar(panes.micronsAPixel(), Math.min(200, width / 3));
  context.fillStyle = "#1c2126";
  context.fillRect(16, height + 22, bar.px, 4);
  context.font = `600 13px ${FONT}`;
  context.textBaseline = "alphabetic";
  context.fillText(bar.text, 16, height + 46);
  context.font = `13px ${FONT}`;
  const [first, second] = caption;
  const left = Math.max(16 + bar.px, 120) + 28;
  context.fillText(first, left, height + 26, total - left - 12);
  context.fillStyle = showsVirtual ? "#7a2f63" : "#1c2126";
  context.fillText(showsVirtual ? `${second}${second ? " · " : ""}${NOTICE}` : second, left, height + 47, total - left - 12);
  return canvas;
}

export function download(canvas, name) {
  return new Promise((resolve) => {
    canvas.toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
      resolve(blob.size);
    }, "image/png");
  });
}
