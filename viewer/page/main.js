import { loadRuns, RunData } from "./api.js";
import { TileGrid } from "./grid.js";
import { Inspector } from "./inspector.js";
import { Layers } from "./layers.js";
import { NOTICE, Overlay } from "./overlay.js";
import { Panes } from "./panes.js";
import { download, takePicture } from "./snapshot.js";
import { magnificationText, placeText, scaleBar } from "./units.js";

const find = (id) => document.getElementById(id);
const stage = find("stage");
const MODE_KEYS = { 1: "side", 2: "swipe", 3: "fade", 4: "blink" };
const BAR_PX = 140;

class App {
  constructor() {
    this.panes = new Panes(stage);
    this.overlay = new Overlay(this.panes);
    this.layers = new Layers(this.overlay);
    this.inspector = new Inspector(this.layers);
    this.grid = null;
    this.run = null;
    this.ready = false;
  }

  async start() {
    this.listen();
    const { runs, software } = await loadRuns();
    document.title = `${software} viewer`;
    for (const { id, name } of runs) find("run").add(new Option(name, id));
    find("run").hidden = runs.length < 2;
    document.querySelector(".brand span").textContent = runs.length < 2 ? runs[0].name : "vtissue";
    const address = new URLSearchParams(location.hash.slice(1));
    const wanted = runs.some(({ id }) => id === address.get("run")) ? address.get("run") : runs[0].id;
    find("run").value = wanted;
    await this.open(wanted);
    await this.restore(address);
  }

  async open(id) {
    this.ready = false;
    this.say("Opening…");
    const run = await RunData.load(id);
    const { tiles, real, notes } = run.about;
    this.run = run;
    this.grid = tiles === undefined ? null : new TileGrid(await run.cells(), (tiles.tile_px * tiles.mpp) / 1000);
    this.overlay.set({ map: null, grid: this.grid, hovered: -1, picked: -1 });
    await this.panes.open(run);
    find("name-real").textContent = real?.name ?? "";
    find("notes").hidden = notes.length === 0;
    find("notes").querySelector("ul").replaceChildren(
      ...notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })),
    );
    for (const button of document.querySelectorAll("#modes button")) {
      button.disabled = !this.panes.hasReal && button.dataset.mode !== "side";
    }
    this.inspector.open(run, this.grid);
    await this.layers.open(run, this.grid);
    this.say("");
    this.ready = true;
  }

  /** The view that the address names. */
  async restore(address) {
    const number = (name) => (address.has(name) ? Number(address.get(name)) : NaN);
    if (address.has("mode")) this.panes.setMode(address.get("mode"));
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    const [xUm, yUm, magnification, rotation] = ["x", "y", "m", "r"].map(number);
    if ([xUm, yUm, magnification].every(Number.isFinite) && magnification > 0) {
      this.panes.moveTo({ xUm, yUm, magnification, rotation: Number.isFinite(rotation) ? rotation : 0 }, true);
    }
    const gene = this.layers.genes.names.indexOf(address.get("gene"));
    if (gene >= 0) await this.layers.showGene(gene);
  }

  remember() {
    if (!this.ready) return;
    const { xUm, yUm, magnification, rotation } = this.panes.view(false);
    const address = new URLSearchParams({
      run: this.run.about.id,
      x: xUm.toFixed(0),
      y: yUm.toFixed(0),
      m: magnification.toPrecision(3),
      mode: this.panes.mode,
    });
    if (Math.abs(rotation) > 0.5) address.set("r", rotation.toFixed(0));
    const gene = this.layers.kind === "gene" ? this.layers.genes.names[this.layers.genes.chosen] : undefined;
    if (gene !== undefined) address.set("gene", gene);
    history.replaceState(null, "", `#${address}`);
  }

  say(text) {
    find("message").textContent = text;
    find("message").hidden = text === "";
  }

  showState() {
    const { magnification, rotation } = this.panes.view();
    find("magnification").textContent = magnificationText(magnification);
    find("turned").textContent = Math.abs(rotation) > 0.5 ? `turned ${Math.round(rotation)}°` : "";
    for (const button of document.querySelectorAll("#magnifications button")) {
      const own = Number(button.dataset.magnification);
      button.setAttribute("aria-pressed", String(own > 0 && Math.abs(magnification / own - 1) < 0.02));
    }
    const bar = scaleBar(this.panes.micronsAPixel(), BAR_PX);
    for (const scale of document.querySelectorAll(".scale")) {
      scale.querySelector("i").style.width = `${bar.px}px`;
      scale.querySelector("span").textContent = bar.text;
    }
    clearTimeout(this.remembering);
    this.remembering = setTimeout(() => this.remember(), 300);
  }

  showMode() {
    for (const button of document.querySelectorAll("#modes button")) {
      button.setAttribute("aria-checked", String(button.dataset.mode === this.panes.mode));
    }
    const real = this.panes.mode === "blink" && !this.panes.showsVirtual;
    find("notice").textContent = real ? "Real" : NOTICE;
    this.showState();
  }

  pointAt(event) {
    const name = event.target.closest(".pane")?.id === "pane-real" ? "real" : "virtual";
    const viewer = this.panes.viewers[name];
    if (viewer === undefined) return null;
    const box = this.panes.elements[name].getBoundingClientRect();
    return this.panes.placeAt(viewer, new window.OpenSeadragon.Point(event.clientX - box.left, event.clientY - box.top));
  }

  hover(event) {
    if (!this.ready || event.target.closest(".pane") === null) return;
    const place = this.pointAt(event);
    if (place === null) return;
    find("where").textContent = placeText(place[0] * 1000, place[1] * 1000);
    const tile = this.grid === null ? -1 : this.grid.at(...place);
    if (tile !== this.overlay.what.hovered) this.overlay.set({ hovered: tile });
    find("value").textContent = this.layers.valueAt(tile);
  }

  pick([x, y]) {
    const tile = this.grid === null ? -1 : this.grid.at(x, y);
    this.overlay.set({ picked: tile });
    this.inspector.show(tile);
    if (tile >= 0) find("tile").scrollIntoView({ block: "nearest" });
  }

  caption() {
    const { xUm, yUm, magnification, rotation } = this.panes.view();
    const parts = [this.run.about.name, placeText(xUm, yUm), magnificationText(magnification)];
    if (Math.abs(rotation) > 0.5) parts.push(`turned ${Math.round(rotation)}°`);
    const { values, label } = this.layers;
    const map = label === "" ? "" : values === null ? label : `${label}, ${this.layers.range.map((v) => Number(v.toPrecision(3))).join(" to ")}`;
    return [parts.join("  ·  "), map];
  }

  picture() {
    return takePicture(this.panes, this.overlay, this.caption());
  }

  save() {
    const { xUm, yUm } = this.panes.view();
    const name = this.run.about.name.replace(/[^A-Za-z0-9._-]+/g, "-");
    return download(this.picture(), `${name}-x${xUm.toFixed(0)}-y${yUm.toFixed(0)}-synthetic.png`);
  }

  togglePanel(open = !document.body.classList.contains("with-panel")) {
    document.body.classList.toggle("with-panel", open);
    find("panel-toggle").setAttribute("aria-expanded", String(open));
    this.layers.genes.draw();
  }

  setTheme(theme) {
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem("vtissue-theme", theme);
    } catch {
      // A browser that keeps nothing: the theme is for this visit.
    }
    this.layers.paint();
  }

  listen() {
    const { panes } = this;
    panes.addEventListener("moved", () => this.showState());
    panes.addEventListener("mode", () => this.showMode());
    panes.addEventListener("opened", () => this.showMode());
    panes.addEventListener("pick", (event) => this.pick(event.detail));
    this.layers.addEventListener("changed", () => this.remember());
    stage.addEventListener("pointermove", (event) => this.hover(event));
    stage.addEventListener("pointerleave", () => this.overlay.set({ hovered: -1 }));
    find("run").addEventListener("change", () => this.attempt(() => this.open(find("run").value)));
    for (const button of document.querySelectorAll("#modes button")) {
      button.addEventListener("click", () => panes.setMode(button.dataset.mode));
    }
    for (const button of document.querySelectorAll("#magnifications button")) {
      button.addEventListener("click", () => this.magnify(Number(button.dataset.magnification)));
    }
    find("rotate-left").addEventListener("click", () => panes.turn(-15));
    find("rotate-right").addEventListener("click", () => panes.turn(15));
    find("save").addEventListener("click", () => this.save());
    find("theme").addEventListener("click", () => this.setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
    find("help-open").addEventListener("click", () => find("help").showModal());
    find("panel-toggle").addEventListener("click", () => this.togglePanel());
    find("fade").querySelector("input").addEventListener("input", (event) => panes.setFade(event.target.valueAsNumber / 100));
    this.listenToSwipe();
    document.addEventListener("keydown", (event) => this.key(event));
    let kept = null;
    try {
      kept = localStorage.getItem("vtissue-theme");
    } catch {
      kept = null;
    }
    document.documentElement.dataset.theme = kept === "dark" ? "dark" : "light";
    this.togglePanel(window.matchMedia("(min-width: 1000px)").matches);
  }

  listenToSwipe() {
    const handle = find("swipe");
    const drag = (event) => {
      const box = stage.getBoundingClientRect();
      this.panes.setSwipe((event.clientX - box.left) / box.width);
    };
    handle.addEventListener("pointerdown", (event) => {
      handle.setPointerCapture(event.pointerId);
      handle.addEventListener("pointermove", drag);
    });
    handle.addEventListener("pointerup", () => handle.removeEventListener("pointermove", drag));
    handle.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
      if (step === undefined) return;
      this.panes.setSwipe(this.panes.swipe + step);
      event.preventDefault();
      event.stopPropagation();
    });
  }

  magnify(magnification) {
    if (magnification > 0) this.panes.moveTo({ magnification });
    else this.panes.home();
  }

  key(event) {
    if (!this.ready || event.ctrlKey || event.metaKey || event.altKey || find("help").open) return;
    if (event.target.closest("input, select, textarea, [role=listbox]") !== null) return;
    const { panes } = this;
    const actions = {
      ArrowLeft: () => panes.panBy(-0.2, 0),
      ArrowRight: () => panes.panBy(0.2, 0),
      ArrowUp: () => panes.panBy(0, -0.2),
      ArrowDown: () => panes.panBy(0, 0.2),
      "+": () => panes.zoomBy(1.5),
      "=": () => panes.zoomBy(1.5),
      "-": () => panes.zoomBy(1 / 1.5),
      0: () => panes.home(),
      "[": () => panes.turn(-15),
      "]": () => panes.turn(15),
      "/": () => {
        this.togglePanel(true);
        this.layers.show("gene");
        find("gene-search").focus();
      },
      o: () => this.toggleMap(),
      p: () => this.togglePanel(),
      s: () => this.save(),
      "?": () => find("help").showModal(),
    };
    const isButton = event.target.closest("button") !== null;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.shiftKey && "[]{}".includes(key)) panes.turn(0);
    else if (key in MODE_KEYS) panes.setMode(MODE_KEYS[key]);
    else if (key === " " && panes.mode === "blink" && !isButton) {
      panes.stopBlinking();
      panes.flip();
    } else if (key in actions) actions[key]();
    else return;
    event.preventDefault();
  }

  toggleMap() {
    if (this.layers.kind !== "none") {
      this.before = this.layers.kind;
      this.layers.show("none");
    } else this.layers.show(this.before ?? "mask");
  }

  async attempt(action) {
    try {
      await action();
    } catch (error) {
      this.say(error.message);
    }
  }
}

// For tests and for whoever wants to steer it from the console.
window.vtissue = new App();
window.vtissue.attempt(() => window.vtissue.start());
