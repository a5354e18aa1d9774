// What the server, or the folder of an export, has. All paths are relative to the page, so that both can lie anywhere.
import { decodeHalves } from "./units.js";

async function fetched(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error((await answer.text()).trim() || `${path}: ${answer.status}`);
  return answer;
}

export const loadRuns = async () => (await fetched("data/runs.json")).json();

/** A run and what belongs to it. What was fetched stays, genes up to `KEPT` of them. */
export class RunData {
  static KEPT = 64;

  static async load(id) {
    const base = `data/r/${id}`;
    return new RunData(base, await (await fetched(`${base}/run.json`)).json());
  }

  constructor(base, description) {
    this.base = base;
    this.about = description;
    this.kept = new Map();
  }

  url(path, version = this.about.version) {
    return `${this.base}/${path}?v=${version}`;
  }

  tileUrl(slide, level, x, y) {
    return this.url(`${slide}/${level}/${x}_${y}.jpg`, this.about[slide].version);
  }

  /** Once, even if it is asked for again meanwhile; a failure is not kept. */
  remember(path, decode) {
    let promise = this.kept.get(path);
    if (promise !== undefined) this.kept.delete(path);
    else {
      promise = fetched(this.url(path)).then(decode);
      promise.catch(() => this.kept.delete(path));
    }
    this.kept.set(path, promise);
    const genes = [...this.kept.keys()].filter((key) => key.startsWith("genes/"));
    if (genes.length > RunData.KEPT) this.kept.delete(genes[0]);
    return promise;
  }

  /** Int32Array of column, row, column, row, … in half tiles. */
  cells() {
    return this.remember("tiles.bin", async (answer) => new Int32Array(await answer.arrayBuffer()));
  }
  mask() {
    return this.remember("mask.bin", async (answer) => new Uint8Array(await answer.arrayBuffer()));
  }
  geneNames() {
    return this.remember("genes.json", (answer) => answer.json());
  }
  gene(index) {
    return this.remember(`genes/${index}.bin`, async (answer) => decodeHalves(await answer.arrayBuffer()));
  }
  figure(index) {
    return this.remember(`figures/${index}.bin`, async (answer) => new Float32Array(await answer.arrayBuffer()));
  }
  /** [[gene, value, z], …] of a tile */
  async topGenes(tile) {
    const size = this.about.genes.top_block;
    const block = await this.remember(`top/${Math.floor(tile / size)}.json`, (answer) => answer.json());
    return block[tile % size] ?? [];
  }
}
