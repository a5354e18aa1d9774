"""Memory and time of `vtissue express` on a generated section of Visium HD: 600,000 bins of 8 µm in tissue, 18,000 genes.

usage: visium_hd.py VTISSUE [--bins N] [--genes-per-bin N] [--folder DIR]

Needs h5py and polars. Makes outs/ as Space Ranger lays it out (positions in Parquet, matrix in gzip chunks of 80,000 entries), the
tiles of a slide under it, and prints the peak memory of the run. The genes are those of the demo family's encoder and others.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import tempfile
import time

import h5py
import numpy as np
import polars as pl

SIDE, MPP, GENES = 838, 0.2738, 18085
WEIGHTS = pathlib.Path(__file__).parent.parent / "weights" / "demo" / "expression"


def bins_of(count):
    """All bins of the array and which of them are in tissue: the first rows."""
    row, column = (part.ravel() for part in np.mgrid[:SIDE, :SIDE])
    return row, column, (np.arange(row.size) < count).astype(np.uint8)


def write_matrix(path, barcodes, genes_per_bin):
    random = np.random.default_rng(5)
    panel = json.loads((WEIGHTS / "config.json").read_text())["genes"]
    names = (panel + [f"GENE{i}" for i in range(GENES)])[:GENES]
    popularity = random.dirichlet(np.full(GENES, 0.3))
    indptr, block = [0], 10000
    packed = {"chunks": (80000,), "maxshape": (None,), "compression": "gzip", "compression_opts": 1}
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        data, indices = group.create_dataset("data", (0,), np.int32, **packed), group.create_dataset("indices", (0,), np.int64, **packed)
        for first in range(0, len(barcodes), block):
            rows = min(block, len(barcodes) - first)
            genes = random.choice(GENES, size=(rows, genes_per_bin), p=popularity)
            cells, counts = np.unique((np.arange(rows)[:, None] * GENES + genes).ravel(), return_counts=True)
            at = data.shape[0]
            for dataset, values in ((data, counts), (indices, cells % GENES)):
                dataset.resize((at + cells.size,))
                dataset[at:] = values
            indptr.extend(at + np.searchsorted(cells // GENES, np.arange(1, rows + 1)))
        group.create_dataset("indptr", data=np.array(indptr), compression="gzip")
        group.create_dataset("shape", data=np.array([GENES, len(barcodes)], np.int32))
        group.create_dataset("barcodes", data=np.array(barcodes, "S21"), compression="gzip")
        group.create_dataset("features/name", data=np.array(names, "S18"))
        group.create_dataset("features/id", data=np.array([f"ENSG{i:011}" for i in range(GENES)], "S18"))
        group.create_dataset("features/feature_type", data=np.array(["Gene Expression"] * GENES, "S15"))
        return indptr[-1]


def write_section(outs, bins, genes_per_bin):
    folder = outs / "binned_outputs" / "square_008um"
    (folder / "spatial").mkdir(parents=True)
    row, column, in_tissue = bins_of(bins)
    barcodes = [f"s_008um_{r:05}_{c:05}-1" for r, c in zip(row, column)]
    pl.DataFrame({"barcode": barcodes, "in_tissue": in_tissue, "array_row": row.astype(np.uint32),
                  "array_col": column.astype(np.uint32), "pxl_row_in_fullres": 100 + (row + 0.5) * 8 / MPP,
                  "pxl_col_in_fullres": 100 + (column + 0.5) * 8 / MPP}).write_parquet(folder / "spatial" / "tissue_positions.parquet")
    scale = {"spot_diameter_fullres": 8 / MPP, "bin_size_um": 8.0, "microns_per_pixel": MPP}
    (folder / "spatial" / "scalefactors_json.json").write_text(json.dumps(scale))
    return write_matrix(folder / "filtered_feature_bc_matrix.h5", barcodes[:bins], genes_per_bin)


def write_tiles(path):
    side = int(SIDE * 8 / MPP) + 200
    target = int(side * MPP / 0.7)
    tiles = target // 128
    row, column = (part.ravel() for part in np.mgrid[:tiles, :tiles])
    with h5py.File(path, "w") as file:
        text = h5py.string_dtype()
        file.attrs.create("format", "vtissue-tiles", dtype=text)
        file.attrs.create("mpp_source", "--mpp", dtype=text)
        file.attrs.create("slide_sha256", "0" * 64, dtype=text)
        file.attrs.create("settings", "{}", dtype=text)
        for name, value in (("format_version", 1), ("tile_px", 128), ("slide_size", [side, side]), ("target_size", [target, target])):
            file.attrs[name] = np.array(value, np.int64)
        for name, value in (("target_mpp", 0.7), ("source_mpp", MPP), ("mask_mpp", 8.0)):
            file.attrs[name] = np.float64(value)
        file.create_dataset("cells", data=np.stack([2 * column, 2 * row], 1).astype(np.int32))
        file.create_dataset("tissue_fraction", data=np.ones(row.size, np.float32))
        mask = int(side * MPP / 8)
        file.create_dataset("mask", data=np.ones((mask, mask), np.uint8))
    return row.size


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vtissue")
    parser.add_argument("--bins", type=int, default=600000)
    parser.add_argument("--genes-per-bin", type=int, default=200)
    parser.add_argument("--folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = pathlib.Path(name)
        entries = write_section(folder / "outs", options.bins, options.genes_per_bin)
        tiles = write_tiles(folder / "tiles.h5")
        start = time.perf_counter()
        subprocess.run([options.vtissue, "express", "--tiles", folder / "tiles.h5", "--visium", folder / "outs", "--out",
                        folder / "expression.h5ad", "--set", f"models.expression={WEIGHTS}"], check=True)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        with h5py.File(folder / "expression.h5ad") as file:
            filled = int(file["obs/has_expression"][:].sum())
            spots = file["obsm/spots/data"].shape[0]
        print(f"{options.bins} bins, {entries / 1e6:.0f} million entries, {tiles} tiles ({filled} with expression, made of "
              f"{spots} bins): {seconds:.0f} s, peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
