// Drives the viewer's page in Chromium and says what does not hold. usage: node page.mjs URL DRIVER SCREENSHOTS
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const [url, driver, shots] = process.argv.slice(2);
const { chromium } = createRequire(`${driver}/`)("playwright-core");

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"],
});
const complaints = [];
const page = await browser.newPage({ viewport: { width: 1360, height: 820 } });
// OpenSeadragon says so where another run is chosen while tiles of the one before are under way.
const isHarmless = (text) => /^Ignoring tile .*loaded before reset/.test(text);
page.on("console", (message) => {
  if (["error", "warning"].includes(message.type()) && !isHarmless(message.text())) complaints.push(message.text());
});
page.on("pageerror", (error) => complaints.push(error.stack));
page.on("requestfailed", (request) => complaints.push(`${request.url()}: ${request.failure()?.errorText}`));
const origin = new URL(url).origin;
page.on("request", (request) => {
  if (!request.url().startsWith(origin) && !/^(data|blob):/.test(request.url())) complaints.push(`asks for ${request.url()}`);
});

const drawn = () => page.waitForFunction(() => window.vtissue.ready && window.vtissue.panes.isDrawn, null, { timeout: 60000 });
const settled = async () => {
  await page.waitForTimeout(700);
  await drawn();
};
const view = () => page.evaluate(() => window.vtissue.panes.view());
const shot = (name) => page.screenshot({ path: `${shots}-${name}.png` });
/** Both viewers' centre, zoom and rotation. */
const both = () =>
  page.evaluate(() =>
    ["real", "virtual"].map((name) => {
      const { viewport } = window.vtissue.panes.viewers[name];
      const centre = viewport.getCenter(true);
      return [centre.x, centre.y, viewport.getZoom(true), viewport.getRotation(true)];
    }),
  );
const assertTogether = async (what) => {
  const [real, virtual] = await both();
  real.forEach((value, i) => assert.ok(Math.abs(value - virtual[i]) < 1e-6 * Math.max(1, Math.abs(value)), `${what}: ${real} and ${virtual}`));
};
/** The navigator shows the slide, not an empty frame. */
const assertNavigator = (what) =>
  page
    .waitForFunction(() => {
      const canvas = document.querySelector("#navigator canvas");
      if (canvas === null || canvas.width === 0) return false;
      // A copy: reading the browser's own canvas again and again makes it warn.
      const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
      copy.drawImage(canvas, 0, 0);
      const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
      return data.filter((value, i) => i % 4 === 1 && data[i + 2] === 255 && value < 200).length > 0.1 * canvas.width * canvas.height;
    }, null, { timeout: 20000 })
    .catch(() => assert.fail(`${what}: the navigator is empty`));
/** The saved picture's pixels within a box of shares, as a sum for each channel; and how many are of the accent. */
const picture = () =>
  page.evaluate(() => {
    const canvas = window.vtissue.picture();
    const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let [accent, hash] = [0, 0];
    for (let i = 0; i < data.length; i += 4) {
      if (data[i] === 122 && data[i + 1] === 47 && data[i + 2] === 99) accent += 1;
      hash = (hash * 31 + data[i] + 7 * data[i + 1] + 13 * data[i + 2]) | 0;
    }
    return { accent, hash, width, height };
  });

try {
  await page.goto(url);
  await drawn();

  // It loads, says what it is, and the address has no token in it.
  assert.ok(!page.url().includes("token="));
  assert.equal(await page.textContent("#notice"), "SYNTHETIC – NOT FOR DIAGNOSIS");
  assert.ok(await page.isVisible("#notice"));
  await assertNavigator("at the start");
  await shot("side");

  // Both move together: by mouse on either slide, by key, by button, turned.
  const before = await view();
  const pane = await page.locator("#pane-virtual").boundingBox();
  const [x, y] = [pane.x + pane.width / 2, pane.y + pane.height / 2];
  await page.mouse.move(x, y);
  await page.mouse.down();
  await page.mouse.move(x - 90, y - 60, { steps: 5 });
  await assertTogether("while dragging");
  await page.mouse.up();
  await settled();
  const after = await view();
  const umAPx = 10 / before.magnification;
  assert.ok(Math.abs(after.xUm - before.xUm - 90 * umAPx) < 30 * umAPx, "the slide follows the hand");
  await assertTogether("after dragging");
  await page.mouse.wheel(0, -300);
  await settled();
  assert.ok((await view()).magnification > after.magnification);
  await assertTogether("after the wheel");
  await page.click('[data-magnification="10"]');
  await settled();
  assert.ok(Math.abs((await view()).magnification - 10) < 0.01);
  assert.equal(await page.textContent("#pane-real .scale span"), "100 µm");
  const bar = await page.locator("#pane-real .scale i").boundingBox();
  assert.ok(Math.abs(bar.width - 100) < 1, "100 µm are 100 pixels at 10x");
  await page.keyboard.press("]");
  await page.keyboard.press("ArrowRight");
  await settled();
  assert.equal(Math.round((await view()).rotation), 15);
  await assertTogether("turned");
  await page.keyboard.press("Shift+]");
  await settled();
  assert.equal(Math.round((await view()).rotation), 0);

  // Places keep their place when the way of showing changes, and the notice stays.
  const place = await view();
  for (const mode of ["swipe", "fade", "blink", "side"]) {
    await page.click(`[data-mode=${mode}]`);
    if (mode === "blink") {
      await page.evaluate(() => {
        document.activeElement.blur();
        window.vtissue.panes.stopBlinking();
        window.vtissue.panes.blinkShowsVirtual = true;
        window.vtissue.panes.lay();
        window.vtissue.showMode();
      });
    }
    await settled();
    const now = await view();
    assert.ok(Math.abs(now.xUm - place.xUm) < 2 && Math.abs(now.yUm - place.yUm) < 2, `${mode}: ${JSON.stringify([place, now])}`);
    assert.ok(Math.abs(now.magnification / place.magnification - 1) < 0.01, mode);
    await assertTogether(mode);
    assert.ok(await page.isVisible("#notice"));
    assert.match(await page.textContent("#notice"), /SYNTHETIC/);
    assert.ok((await picture()).accent > 500, `${mode}: a saved picture says SYNTHETIC`);
    await shot(mode);
    if (mode === "blink") {
      await page.keyboard.press(" ");
      assert.equal(await page.textContent("#notice"), "Real");
      assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector("#pane-virtual")).visibility), "hidden");
    }
  }
  // The slider by keyboard.
  await page.click("[data-mode=swipe]");
  await page.focus("#swipe");
  await page.keyboard.press("ArrowRight");
  assert.equal(await page.getAttribute("#swipe", "aria-valuenow"), "52");
  await page.click("[data-mode=side]");
  await settled();

  // A gene is found by typing and changes the pixels; another range changes them again; off restores them.
  const plain = await picture();
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.id), "gene-search");
  assert.ok((await page.locator("#gene-list [role=option]").count()) < 40, "only the rows in sight are elements");
  await page.keyboard.type("gene29");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => window.vtissue.layers.values !== null);
  assert.match(await page.textContent("#unit"), /GENE290 \(predicted\)/);
  const mapped = await picture();
  assert.notEqual(mapped.hash, plain.hash);
  await page.fill("#high", "9");
  await page.keyboard.press("Tab");
  assert.notEqual((await picture()).hash, mapped.hash);
  await page.click("#range-reset");
  await page.selectOption("#colour-map", "ember");
  assert.notEqual((await picture()).hash, mapped.hash);
  await page.selectOption("#colour-map", "dusk");
  assert.equal((await picture()).hash, mapped.hash);
  await shot("gene");

  // A click shows a tile of both slides, with its genes; a gene there leads to its map.
  const real = await page.locator("#pane-real").boundingBox();
  await page.mouse.click(real.x + real.width / 2, real.y + real.height / 2);
  await page.waitForFunction(() => document.querySelectorAll("#tile-genes tbody tr").length > 3);
  await page.waitForTimeout(400);
  const spread = await page.evaluate(() =>
    ["real", "virtual"].map((name) => {
      const canvas = document.getElementById(`patch-${name}`);
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return Math.max(...data.filter((_, i) => i % 4 === 1)) - Math.min(...data.filter((_, i) => i % 4 === 1));
    }),
  );
  assert.ok(spread.every((levels) => levels > 30), `patches with something in them: ${spread}`);
  const first = await page.textContent("#tile-genes tbody button");
  await page.click("#tile-genes tbody button");
  await page.waitForFunction((gene) => document.getElementById("unit").textContent.startsWith(`${gene} `), first);
  await shot("tile");
  await page.click("[data-layer=figure]");
  await page.waitForFunction(() => window.vtissue.layers.values !== null);
  await page.click("[data-layer=mask]");
  await page.waitForFunction(() => window.vtissue.overlay.what.map !== null);
  assert.notEqual((await picture()).hash, plain.hash);
  await page.click("[data-layer=none]");
  await page.evaluate(() => window.vtissue.pick([-1, -1]));
  await page.mouse.move(5, 5);
  assert.equal((await picture()).hash, plain.hash, "nothing stays behind");

  // A saved picture comes as a file.
  const [saved] = await Promise.all([page.waitForEvent("download"), page.click("#save")]);
  assert.match(saved.suggestedFilename(), /-synthetic\.png$/);
  const data = await page.evaluate(() => window.vtissue.picture().toDataURL());
  writeFileSync(`${shots}-saved.png`, Buffer.from(data.split(",")[1], "base64"));

  // The address brings the view back.
  await page.waitForTimeout(500);
  const address = page.url();
  const kept = await view();
  await page.goto("about:blank");
  await page.goto(address);
  await drawn();
  await settled();
  const back = await view();
  assert.ok(Math.abs(back.xUm - kept.xUm) < 3 && Math.abs(back.magnification / kept.magnification - 1) < 0.02);

  // Another run takes the place of the first, in whatever way slides are shown, and back.
  await page.click("[data-mode=swipe]");
  for (const [index, name, genes] of [[1, "second", 40], [0, "first", 3000]]) {
    await page.selectOption("#run", { index });
    await page.waitForFunction((wanted) => window.vtissue.ready && window.vtissue.run.about.name === wanted, name);
    await settled();
    await assertTogether(name);
    assert.equal(await page.evaluate(() => window.vtissue.layers.genes.names.length), genes);
    await assertNavigator(name);
    assert.equal(await page.locator("#message").isVisible(), false);
  }
  await page.click("[data-mode=side]");
  await settled();

  // Everything can be reached by keyboard and has a name.
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll("button, input, select, [role=slider]")]
      .filter((element) => !(element.getAttribute("aria-label") || element.textContent.trim() || element.title || element.closest("label")))
      .map((element) => element.outerHTML),
  );
  assert.deepEqual(nameless, []);

  // A tablet, upright: one above the other, the panel over them, nothing cut off.
  await page.click("#theme");
  await page.setViewportSize({ width: 820, height: 1180 });
  await page.evaluate(() => window.vtissue.togglePanel(false));
  await page.click('[data-magnification="0"]');
  await settled();
  assert.ok(await page.isVisible("#notice"));
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth));
  await shot("tablet");
  await page.click("#panel-toggle");
  await page.click("[data-layer=gene]");
  await page.waitForTimeout(300);
  await shot("tablet-panel");

  assert.deepEqual(complaints, []);
} catch (error) {
  await shot("failed").catch(() => {});
  console.error(error.stack, "\nconsole:", complaints);
  process.exitCode = 1;
} finally {
  await browser.close();
}
