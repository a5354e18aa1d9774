"""Writes the small files of this folder: tables in Parquet as pandas, pyarrow and polars write them, and AnnData files in
the layouts of versions that no longer install. Made once with pyarrow 26, pandas 3.1, polars 2.1 and h5py 3.16:

    python3 make_files.py FOLDER

A table has 90 bins of 8 µm, row by row, six rows of fifteen; x = 1000.5 + 30 * column, y = 500.25 + 30 * row; the first two bins
are off the tissue.
"""

import pathlib
import sys

import h5py
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

ROWS, COLUMNS = 6, 15


def table():
    row, column = (part.ravel() for part in np.mgrid[:ROWS, :COLUMNS])
    return {
        "barcode": [f"s_008um_{r:05d}_{c:05d}-1" for r, c in zip(row, column)],
        "in_tissue": (np.arange(ROWS * COLUMNS) >= 2).astype(np.uint8),
        "array_row": row.astype(np.uint32),
        "array_col": column.astype(np.uint32),
        "pxl_row_in_fullres": 500.25 + 30.0 * row,
        "pxl_col_in_fullres": 1000.5 + 30.0 * column,
    }


def parquet(folder):
    arrow = pa.table(table())
    frame = pd.DataFrame(table())
    # As Space Ranger has them.
    pl.DataFrame(table()).write_parquet(folder / "polars_zstd.parquet", compression="zstd", compression_level=3)
    frame.to_parquet(folder / "pandas_snappy.parquet", index=False)
    pq.write_table(arrow, folder / "gzip_groups.parquet", compression="gzip", row_group_size=37)
    pq.write_table(arrow, folder / "plain_v2.parquet", compression="none", use_dictionary=False, data_page_version="2.0",
                   data_page_size=256, write_batch_size=16)
    pq.write_table(arrow, folder / "zstd_v2.parquet", compression="zstd", data_page_version="2.0",
                   write_page_checksum=True)
    required = pa.schema([pa.field(f.name, f.type, nullable=False) for f in arrow.schema])
    types = {"in_tissue": pa.bool_(), "array_row": pa.int64(), "array_col": pa.int16(), "pxl_row_in_fullres": pa.float32()}
    required = pa.schema([f.with_type(types.get(f.name, f.type)) for f in required])
    other = {**table(), "in_tissue": table()["in_tissue"].astype(bool),
             "pxl_row_in_fullres": table()["pxl_row_in_fullres"].astype(np.float32)}
    pq.write_table(pa.table(other, schema=required), folder / "required_other_types.parquet")
    # Refused.
    pq.write_table(arrow, folder / "bad_lz4.parquet", compression="lz4")
    pq.write_table(arrow, folder / "bad_delta.parquet", use_dictionary=False,
                   column_encoding={"array_row": "DELTA_BINARY_PACKED"})
    holes = frame.copy()
    holes["pxl_row_in_fullres"] = holes["pxl_row_in_fullres"].where(holes.index != 41)
    pq.write_table(pa.Table.from_pandas(holes, preserve_index=False), folder / "bad_empty_cell.parquet")
    nested = arrow.set_column(1, "in_tissue", pa.array([[1]] * arrow.num_rows))
    pq.write_table(nested, folder / "bad_nested.parquet")


COUNTS = np.array([[2, 0, 1], [0, 3, 0], [4, 0, 5], [0, 0, 6]], dtype=np.float32)
SPATIAL = np.array([[10.5, 20], [30, 40], [50, 60], [70, 80.25]])
CLUSTERS, CODES = ["stroma", "tumour"], np.array([1, 0, 1, 1], dtype=np.int8)
BARCODES, GENES, RAW_GENES = [b"AAAC-1", b"CCCG-1", b"GGGT-1", b"TTTA-1"], [b"PMEL", b"CD8A", b"KRT5"], [b"PMEL", b"CD8A", b"KRT5", b"ACTB"]


def csr(matrix):
    rows, columns = np.nonzero(matrix)
    indptr = np.searchsorted(rows, np.arange(matrix.shape[0] + 1)).astype(np.int32)
    return matrix[rows, columns], columns.astype(np.int32), indptr


def sparse_06(file, name, matrix):
    group = file.create_group(name)
    group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", np.array(matrix.shape)
    for part, values in zip(("data", "indices", "indptr"), csr(matrix)):
        group.create_dataset(part, data=values)


def anndata_06(path):
    """obs, var and obsm are compound datasets, categories are in uns, raw is beside X."""
    with h5py.File(path, "w", track_order=False) as file:
        sparse_06(file, "X", np.log1p(COUNTS))
        obs = np.zeros(4, dtype=[("index", "S6"), ("cluster", "i1"), ("n_counts", "<f4"), ("in_tissue", "<i8")])
        obs["index"], obs["cluster"], obs["n_counts"], obs["in_tissue"] = BARCODES, CODES, COUNTS.sum(1), [1, 1, 0, 1]
        file.create_dataset("obs", data=obs)
        file.create_dataset("var", data=np.array([(g,) for g in GENES], dtype=[("index", "S4")]))
        obsm = np.zeros(4, dtype=[("X_pca", "<f4", (3,)), ("spatial", "<f8", (2,))])
        obsm["spatial"] = SPATIAL
        file.create_dataset("obsm", data=obsm)
        sparse_06(file, "raw.X", np.hstack([COUNTS, np.full((4, 1), 7, np.float32)]))
        file.create_dataset("raw.var", data=np.array([(g,) for g in RAW_GENES], dtype=[("index", "S4")]))
        file.create_dataset("uns/cluster_categories", data=np.array(CLUSTERS, dtype=h5py.string_dtype()))


def anndata_07(path):
    """Data frames without encodings of their elements; a column of codes refers to its categories."""
    text = h5py.string_dtype()
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": np.array(COUNTS.shape)})
        for part, values in zip(("data", "indices", "indptr"), csr(COUNTS)):
            group.create_dataset(part, data=values)
        for name, index, order in (("obs", BARCODES, ["cluster"]), ("var", GENES, [])):
            frame = file.create_group(name)
            frame.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.1.0", "_index": "index"})
            frame.attrs["column-order"] = np.array(order, dtype=text if order else float)
            frame.create_dataset("index", data=[i.decode() for i in index], dtype=text)
        categories = file.create_dataset("obs/__categories/cluster", data=np.array(CLUSTERS, dtype=text))
        categories.attrs["ordered"] = False
        file.create_dataset("obs/cluster", data=CODES).attrs["categories"] = categories.ref
        file.create_dataset("obsm/spatial", data=SPATIAL)


def tenx(path, legacy):
    """A matrix of Space Ranger: with feature types, or of one genome as before Cell Ranger 3."""
    names, ids = [b"PMEL", b"CD3", b"TBCE", b"TBCE"], [b"ENSG01", b"ENSG02", b"ENSG03", b"ENSG04"]
    with h5py.File(path, "w") as file:
        group = file.create_group("GRCh38" if legacy else "matrix")
        group.create_dataset("barcodes", data=np.array(BARCODES, dtype="S18"), chunks=(2,), compression="gzip")
        if legacy:
            group.create_dataset("gene_names", data=np.array(names))
            group.create_dataset("genes", data=np.array(ids))
        else:
            group.create_dataset("features/name", data=np.array(names))
            group.create_dataset("features/id", data=np.array(ids))
            group.create_dataset("features/feature_type", data=np.array(
                [b"Gene Expression", b"Antibody Capture", b"Gene Expression", b"Gene Expression"]))
        for name, values in (("data", np.array([7, 3, 99, 4, 1, 50], np.int32)), ("indices", np.array([3, 0, 1, 2, 0, 1])),
                             ("indptr", np.array([0, 3, 4, 5, 6])), ("shape", np.array([4, 4], np.int32))):
            group.create_dataset(name, data=values, chunks=values.shape, compression="gzip")


if __name__ == "__main__":
    out = pathlib.Path(sys.argv[1])
    parquet(out)
    anndata_06(out / "anndata_0.6.h5ad")
    anndata_07(out / "anndata_0.7.h5ad")
    tenx(out / "v3_matrix.h5", False)
    tenx(out / "v2_matrix.h5", True)
