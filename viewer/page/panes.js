// Two OpenSeadragon viewers in one world whose unit is a millimetre on the glass: whatever the slides' µm/px, equal places
// lie over each other and both move together. Ways to show them are ways to lay the two panes out.
import { micronsPerPixel, magnificationOf, turned } from "./units.js";

const OpenSeadragon = window.OpenSeadragon;
const LARGEST = 160; // magnification; far beyond the slides' own, to look at pixels
const MODES = ["side", "swipe", "fade", "blink"];
const BLINK_MS = 800;

// OpenSeadragon adds an inline style, which the page's policy forbids, unless it finds one of that name. An element that is
// no style of HTML's stands in; the one rule is in style.css.
const standIn = document.createElementNS("urn:vtissue", "style");
standIn.setAttribute("data-openseadragon-mobile-css", "true");
document.head.append(standIn);

function tileSource(run, name) {
  const slide = run.about[name];
  return {
    width: slide.width,
    height: slide.height,
    tileSize: slide.tile_px,
    tileOverlap: 0,
    minLevel: 0,
    maxLevel: slide.levels - 1,
    getTileUrl: (level, x, y) => run.tileUrl(name, slide.levels - 1 - level, x, y),
  };
}

function makeViewer(element, navigator) {
  const viewer = OpenSeadragon({
    element,
    drawer: "canvas", // its pixels can be saved, and many viewers in one page do not run out of WebGL contexts
    showNavigationControl: false,
    showNavigator: navigator !== null,
    ...(navigator === null ? {} : { navigatorId: navigator, navigatorAutoFade: false, navigatorDisplayRegionColor: "#b0427f" }),
    crossOriginPolicy: false,
    animationTime: 0.35,
    springStiffness: 8,
    visibilityRatio: 0.1,
    constrainDuringPan: false,
    zoomPerScroll: 1.25,
    minZoomLevel: 1e-4,
    maxZoomLevel: 1e5,
    maxImageCacheCount: 600,
    imageLoaderLimit: 6,
    preserveImageSizeOnResize: true,
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
    gestureSettingsTouch: { clickToZoom: false, dblClickToZoom: true, pinchRotate: false },
    gestureSettingsPen: { clickToZoom: false, dblClickToZoom: true },
  });
  // Keys are the page's.
  viewer.addHandler("canvas-key", (event) => {
    event.preventDefaultAction = true;
  });
  return viewer;
}

export class Panes extends EventTarget {
  constructor(stage) {
    super();
    this.stage = stage;
    this.elements = { real: stage.querySelector("#pane-real"), virtual: stage.querySelector("#pane-virtual") };
    this.viewers = {};
    this.mode = "side";
    this.swipe = 0.5;
    this.fade = 0.5;
    this.blinkShowsVirtual = true;
    this.timer = 0;
    this.wanted = null; // what is left to be shown once the slides are there
  }

  /** Opens a run's slides in place of what is there. */
  async open(run) {
    this.close();
    this.run = run;
    this.hasReal = run.about.real !== undefined;
    this.stage.classList.toggle("alone", !this.hasReal);
    const names = this.hasReal ? ["real", "virtual"] : ["virtual"];
    // A viewer takes its navigator's element with it when it goes.
    const navigator = document.createElement("div");
    navigator.id = "navigator-picture";
    this.stage.querySelector("#navigator").replaceChildren(navigator);
    for (const name of names) {
      const element = this.elements[name].querySelector(".slide");
      this.viewers[name] = makeViewer(element, name === names[0] ? navigator.id : null);
    }
    this.leader = this.viewers[names[0]];
    for (const viewer of Object.values(this.viewers)) this.listen(viewer);
    await Promise.all(names.map((name) => this.addSlide(name)));
    this.setMode(this.mode);
    this.home(true);
    this.dispatchEvent(new Event("opened"));
  }

  close() {
    clearInterval(this.timer);
    for (const viewer of Object.values(this.viewers)) viewer.destroy();
    this.viewers = {};
  }

  addSlide(name) {
    const { width, mpp, origin_um: origin } = this.run.about[name];
    return new Promise((resolve, reject) => {
      this.viewers[name].addTiledImage({
        tileSource: tileSource(this.run, name),
        x: origin[0] / 1000,
        y: origin[1] / 1000,
        width: (width * mpp) / 1000,
        success: resolve,
        error: (event) => reject(new Error(event.message)),
      });
    });
  }

  /** The pane that is touched leads, the other follows in the same frame. */
  listen(viewer) {
    for (const event of ["canvas-press", "canvas-scroll", "canvas-pinch", "canvas-drag"]) {
      viewer.addHandler(event, () => {
        this.leader = viewer;
      });
    }
    viewer.addHandler("viewport-change", () => {
      if (viewer === this.leader) this.follow();
    });
    viewer.addHandler("animation", () => {
      if (viewer === this.leader) this.follow();
    });
    viewer.addHandler("update-viewport", () => this.dispatchEvent(new CustomEvent("draw", { detail: this.nameOf(viewer) })));
    viewer.addHandler("canvas-click", (event) => {
      if (event.quick) this.dispatchEvent(new CustomEvent("pick", { detail: this.placeAt(viewer, event.position) }));
    });
    viewer.addHandler("resize", () => requestAnimationFrame(() => this.follow()));
    if (viewer.navigator) {
      viewer.navigator.addHandler("canvas-press", () => {
        this.leader = viewer;
      });
    }
  }

  nameOf(viewer) {
    return viewer === this.viewers.virtual ? "virtual" : "real";
  }

  follow() {
    const from = this.leader.viewport;
    for (const viewer of Object.values(this.viewers)) {
      if (viewer === this.leader) continue;
      const to = viewer.viewport;
      to.setRotation(from.getRotation(true), true);
      to.zoomTo(from.getZoom(true), null, true);
      to.panTo(from.getCenter(true), true);
      viewer.forceRedraw();
    }
    this.dispatchEvent(new Event("moved"));
  }

  /** {xUm, yUm, rotation, magnification} of what is shown, or will be when it has come to rest. */
  view(current = true) {
    const viewport = this.leader.viewport;
    const centre = viewport.getCenter(current);
    return {
      xUm: centre.x * 1000,
      yUm: centre.y * 1000,
      rotation: turned(viewport.getRotation(current)),
      magnification: magnificationOf(this.micronsAPixel(current)),
    };
  }

  micronsAPixel(current = true) {
    const viewport = this.leader.viewport;
    return 1000 / viewport.getZoom(current) / viewport.getContainerSize().x;
  }

  zoomFor(magnification) {
    return 1000 / (micronsPerPixel(magnification) * this.leader.viewport.getContainerSize().x);
  }

  moveTo({ xUm, yUm, magnification, rotation }, immediately = false) {
    const viewport = this.leader.viewport;
    if (rotation !== undefined) viewport.setRotation(rotation, immediately);
    if (magnification !== undefined) viewport.zoomTo(this.zoomFor(Math.min(LARGEST, magnification)), null, immediately);
    if (xUm !== undefined) viewport.panTo(new OpenSeadragon.Point(xUm / 1000, yUm / 1000), immediately);
    if (immediately) this.follow();
  }

  home(immediately = false) {
    this.leader.viewport.setRotation(0, immediately);
    const { width, height, mpp } = this.run.about.virtual;
    const box = new OpenSeadragon.Rect(0, 0, (width * mpp) / 1000, (height * mpp) / 1000);
    this.leader.viewport.fitBounds(box, immediately);
    if (immediately) this.follow();
  }

  zoomBy(factor) {
    const now = this.view(false).magnification;
    const least = 0.2 * magnificationOf((this.run.about.virtual.width * this.run.about.virtual.mpp) / this.leader.viewport.getContainerSize().x);
    this.moveTo({ magnification: Math.min(LARGEST, Math.max(least, now * factor)) });
  }

  /** By parts of the pane, to where the reader sees right and down. */
  panBy(right, down) {
    const viewport = this.leader.viewport;
    const size = viewport.getContainerSize();
    viewport.panBy(viewport.deltaPointsFromPixels(new OpenSeadragon.Point(right * size.x, down * size.y), false).rotate(-viewport.getRotation(false)));
  }

  turn(degrees) {
    const viewport = this.leader.viewport;
    viewport.setRotation(degrees === 0 ? 0 : viewport.getRotation(false) + degrees);
  }

  /** Millimetres of a place in a pane. */
  placeAt(viewer, position) {
    const point = viewer.viewport.pointFromPixel(position, true);
    return [point.x, point.y];
  }

  /** The affine map from millimetres to a pane's pixels, as canvas' setTransform takes it. */
  transform(name) {
    const viewport = this.viewers[name].viewport;
    const at = (x, y) => viewport.pixelFromPoint(new OpenSeadragon.Point(x, y), true);
    const [origin, right, down] = [at(0, 0), at(1, 0), at(0, 1)];
    return [right.x - origin.x, right.y - origin.y, down.x - origin.x, down.y - origin.y, origin.x, origin.y];
  }

  setMode(mode) {
    this.mode = this.hasReal && MODES.includes(mode) ? mode : "side";
    this.stage.dataset.mode = this.mode;
    clearInterval(this.timer);
    this.blinkShowsVirtual = true;
    if (this.mode === "blink" && !window.matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.timer = setInterval(() => this.flip(), BLINK_MS);
    }
    const centre = this.leader ? this.view(false) : null;
    this.lay();
    // The panes have another size now; places and magnification are kept, not the zoom.
    requestAnimationFrame(() => {
      if (centre && this.run) this.moveTo(centre, true);
      this.dispatchEvent(new Event("mode"));
    });
  }

  stopBlinking() {
    clearInterval(this.timer);
    this.timer = 0;
  }

  flip() {
    this.blinkShowsVirtual = !this.blinkShowsVirtual;
    this.lay();
    this.dispatchEvent(new Event("mode"));
  }

  setSwipe(share) {
    this.swipe = Math.min(1, Math.max(0, share));
    this.lay();
  }

  setFade(share) {
    this.fade = share;
    this.lay();
  }

  /** Whether pixels of the virtual slide can be seen. */
  get showsVirtual() {
    if (this.mode === "blink") return this.blinkShowsVirtual;
    return true;
  }

  lay() {
    const { virtual } = this.elements;
    const slide = virtual.querySelector(".slide");
    const percent = `${100 * this.swipe}%`;
    virtual.style.clipPath = this.mode === "swipe" ? `inset(0 0 0 ${percent})` : "";
    virtual.style.visibility = this.mode === "blink" && !this.blinkShowsVirtual ? "hidden" : "";
    slide.style.opacity = this.mode === "fade" ? String(this.fade) : "";
    const handle = this.stage.querySelector("#swipe");
    handle.style.left = percent;
    handle.setAttribute("aria-valuenow", String(Math.round(100 * this.swipe)));
    this.stage.classList.toggle("shows-real-only", !this.showsVirtual);
  }

  /** Everything that the present view needs is drawn. */
  get isDrawn() {
    return Object.values(this.viewers).every((viewer) => {
      const image = viewer.world.getItemAt(0);
      return image !== undefined && image.getFullyLoaded();
    });
  }
}
