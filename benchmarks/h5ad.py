"""Reading an .h5ad of 5,000 spots x 20,000 genes, beside anndata, in one run.

usage: h5ad.py BENCHMARK_H5AD [--rounds N] [--spots N] [--genes N]

BENCHMARK_H5AD is the program of benchmarks/h5ad.cpp. Run it with the Python of tools/get-test-readers.sh, which has
anndata. Files as anndata writes them, CSR float32, without compression and with gzip; every round both sides read the file
in turn, from the page cache. A ratio is printed only if both find the same.
"""

import argparse
import pathlib
import statistics
import subprocess
import tempfile
import time

import anndata
import numpy as np
import pandas as pd
import scipy.sparse


def names(form, count):
    """As objects: anndata 0.12 does not write pandas' own strings."""
    return pd.Index([form.format(i) for i in range(count)], dtype=object)


def section(spots, genes):
    """Counts of a Visium section in kind: a sixth of the cells, most of them small."""
    random = np.random.default_rng(1)
    matrix = scipy.sparse.random_array((spots, genes), density=1 / 6, format="csr", dtype=np.float32, rng=random)
    matrix.data = random.geometric(0.4, matrix.nnz).astype(np.float32)
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    obs = pd.DataFrame({"in_tissue": np.ones(spots, np.int64), "array_row": np.arange(spots) // 64,
                        "array_col": np.arange(spots) % 64}, index=names("AAAC{:012}-1", spots))
    var = pd.DataFrame({"gene_ids": names("ENSG{:011}", genes)}, index=names("GENE{}", genes))
    return anndata.AnnData(matrix, obs=obs, var=var, obsm={"spatial": random.random((spots, 2)) * 20000})


def read_with_anndata(path):
    start = time.perf_counter()
    data = anndata.read_h5ad(path)
    seconds = time.perf_counter() - start
    return seconds, (data.n_obs, data.n_vars, data.X.nnz, float(data.X.data.sum(dtype=np.float64)))


class Ours:
    def __init__(self, program, path):
        self.process = subprocess.Popen([program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self):
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        seconds, *found = self.process.stdout.readline().split()
        return float(seconds), (*map(int, found[:3]), float(found[3]))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--spots", type=int, default=5000)
    parser.add_argument("--genes", type=int, default=20000)
    options = parser.parse_args()
    data = section(options.spots, options.genes)
    with tempfile.TemporaryDirectory() as folder:
        for compression in (None, "gzip"):
            path = pathlib.Path(folder) / "section.h5ad"
            data.write_h5ad(path, compression=compression)
            ours, peer = Ours(options.program, path), lambda: read_with_anndata(path)
            mine, theirs = [], []
            for _ in range(options.rounds + 1):
                seconds, found = ours.read()
                peer_seconds, peer_found = peer()
                if found[:3] != peer_found[:3] or abs(found[3] / peer_found[3] - 1) > 1e-5:
                    raise SystemExit(f"no ratio: ours found {found}, anndata {peer_found}")
                mine.append(seconds)
                theirs.append(peer_seconds)
            ours.close()
            a, b = statistics.median(mine[1:]), statistics.median(theirs[1:])
            print(f"{compression or 'no compression'}: {path.stat().st_size / 1e6:.0f} MB, ours {a * 1000:.0f} ms, "
                  f"anndata {anndata.__version__} {b * 1000:.0f} ms, ratio {b / a:.2f}")


if __name__ == "__main__":
    main()
