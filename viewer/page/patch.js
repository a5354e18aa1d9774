// A square of a slide at full size, put together from the tiles of its pyramid.

function picture(url) {
  return new Promise((resolve) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => resolve(null);
    image.src = url;
  });
}

/** Draws [x, y, side, side] mm of a slide over a canvas. Returns whether every tile could be had. */
export async function drawPatch(canvas, run, name, [xMm, yMm], sideMm, isCurrent) {
  const slide = run.about[name];
  const context = canvas.getContext("2d");
  if (slide === undefined) {
    context.clearRect(0, 0, canvas.width, canvas.height);
    return false;
  }
  const side = (sideMm * 1000) / slide.mpp;
  const left = (xMm * 1000 - slide.origin_um[0]) / slide.mpp;
  const top = (yMm * 1000 - slide.origin_um[1]) / slide.mpp;
  const tile = slide.tile_px;
  const wanted = [];
  const [columns, rows] = [Math.ceil(slide.width / tile), Math.ceil(slide.height / tile)];
  for (let y = Math.max(0, Math.floor(top / tile)); y * tile < top + side && y < rows; ++y) {
    for (let x = Math.max(0, Math.floor(left / tile)); x * tile < left + side && x < columns; ++x) wanted.push([x, y]);
  }
  const images = await Promise.all(wanted.map(([x, y]) => picture(run.tileUrl(name, 0, x, y))));
  if (!isCurrent()) return false;
  const scale = canvas.width / side;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  images.forEach((image, i) => {
    if (image === null) return;
    const [x, y] = [wanted[i][0] * tile - left, wanted[i][1] * tile - top];
    context.drawImage(image, x * scale, y * scale, image.naturalWidth * scale, image.naturalHeight * scale);
  });
  return images.every((image) => image !== null);
}
