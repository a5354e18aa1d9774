"""Opens an expression.h5ad with anndata, and with scanpy where it is installed, and prints what they see as JSON; with
"squidpy" after the file what squidpy sees, null where it is not installed (tools/get-test-readers.sh spatial)."""

import json
import sys

import anndata


def seen_by_anndata(path):
    data = anndata.read_h5ad(path)
    spots = data.obsm["spots"].tocsr()
    return {
        "shape": list(data.shape),
        "obs_names": list(data.obs_names),
        "var_names": list(data.var_names),
        "obs": {name: data.obs[name].tolist() for name in data.obs},
        "x": [[float(value) for value in row] for row in data.X],
        "spatial": data.obsm["spatial"].tolist(),
        "spots": [[(data.uns["spot_names"][i], float(row.data[k])) for k, i in enumerate(row.indices)] for row in spots],
        "uns": {name: value for name, value in data.uns.items() if isinstance(value, str)},
    }


def seen_by_scanpy(path):
    """Scanpy's own tools on the table: a neighbour graph of the tiles' places, and a gene's values."""
    try:
        import scanpy
    except ImportError:
        return None
    data = scanpy.read_h5ad(path)
    scanpy.pp.calculate_qc_metrics(data, percent_top=None, inplace=True)
    scanpy.pp.neighbors(data, n_neighbors=3, use_rep="spatial")
    return {"version": scanpy.__version__, "total_counts": data.obs["total_counts"].tolist(),
            "edges": int(data.obsp["distances"].nnz)}


def seen_by_squidpy(path):
    """Squidpy's graph of neighbouring places, of a grid and by distance, and a gene's spatial autocorrelation on it."""
    try:
        import squidpy
    except ImportError:
        return None
    import numpy

    data = anndata.read_h5ad(path)
    squidpy.gr.spatial_neighbors(data, coord_type="grid", n_neighs=4)
    grid = data.obsp["spatial_connectivities"].toarray().astype(int).tolist()
    pitch = min(d for d in numpy.linalg.norm(data.obsm["spatial"][1:] - data.obsm["spatial"][0], axis=1))
    squidpy.gr.spatial_neighbors(data, coord_type="generic", radius=1.1 * float(pitch))
    near = int(data.obsp["spatial_connectivities"].nnz)
    squidpy.gr.spatial_autocorr(data, mode="moran", genes=list(data.var_names), n_jobs=1)
    return {"version": squidpy.__version__, "grid": grid, "near": near,
            "moran": {gene: float(data.uns["moranI"].loc[gene, "I"]) for gene in data.var_names}}


if __name__ == "__main__" and sys.argv[2:] == ["squidpy"]:
    print(json.dumps(seen_by_squidpy(sys.argv[1])))
elif __name__ == "__main__":
    print(json.dumps({"anndata": seen_by_anndata(sys.argv[1]), "scanpy": seen_by_scanpy(sys.argv[1]),
                      "version": anndata.__version__}))
