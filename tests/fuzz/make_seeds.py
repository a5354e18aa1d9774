"""Seeds of the fuzzers from the golden files: make_seeds.py GOLDEN OUT.

OUT/<target>/ gets the files each target reads as they are; for the pickle machine the pickles of the archives, and for
the checkpoint reader also those pickles behind the byte that has them wrapped in an archive with right checksums. The
readers of HDF5 change whole files as the input says, so that any bytes are a seed. Those of the TIFF reader are made here.
"""

import gzip
import pathlib
import struct
import sys
import zipfile

WRAP = b"\xff"


def pickle_of(path):
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
            return archive.read(name)
    except (zipfile.BadZipFile, StopIteration, RuntimeError, OSError, EOFError):
        return None


def tiff(order, big):
    """Two directories, the second a SubIFD of the first, each with one strip of eight bytes."""
    word = "Q" if big else "I"
    head = struct.pack(order + "2sHHHQ", b"II" if order == "<" else b"MM", 43, 8, 0, 24) if big else \
        struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 16)
    first = (24 if big else 16)
    length = lambda entries: (8 if big else 2) + entries * (20 if big else 12) + (8 if big else 4)
    second = first + length(3)

    def directory(entries):
        count = struct.pack(order + ("Q" if big else "H"), len(entries))
        body = b"".join(struct.pack(order + "HH" + word + word, tag, 16 if big else 4, 1, value) for tag, value in entries)
        return count + body + struct.pack(order + word, 0)

    data = len(head)
    content = head + b"\0" * (first - len(head))
    return content + directory([(273, data - 8), (279, 8), (330, second)]) + directory([(273, data - 8), (279, 8)])


def main(golden, out):
    def write(target, name, content):
        folder = out / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    for path in sorted((golden / "pickles").glob("*.pth")):
        content = path.read_bytes()
        write("torch_file", path.name, content)
        write("zip" if content.startswith(b"PK") else "pickle", path.name, content)
        pickle = pickle_of(path)
        if pickle is not None:
            write("pickle", path.name + ".pkl", pickle)
            write("torch_file", path.name + ".wrapped", WRAP + pickle)
    for path in sorted((golden / "safetensors_cases").glob("*.safetensors")):
        if path.stat().st_size < 10000:
            write("safetensors", path.name, path.read_bytes())
    for path in sorted((golden / "safetensors_cases").glob("*/*.index.json")):
        write("shard_index", path.parent.name + ".json", path.read_bytes())
    positions_and_matrices(golden.parent / "spatial", write)
    annotations(write)
    for order in "<>":
        write("tiff", "classic" + ("le" if order == "<" else "be"), tiff(order, big=False))
        write("tiff", "big" + ("le" if order == "<" else "be"), tiff(order, big=True))
    write("tiff", "ome", b'<?xml version="1.0"?><OME><Image><Pixels PhysicalSizeX="0.25" PhysicalSizeXUnit="nm"/></Image></OME>')
    write("tiff", "properties", b"openslide.mpp-x=0,25\naperio.MPP= 0.5 \naperio.AppMag=40.000000\ntiff.XResolution=20000\n"
          b"tiff.ResolutionUnit=centimeter\nopenslide.objective-power=20\n")


def annotations(write):
    square = '{"type":"Polygon","coordinates":[[[0,0],[90,0],[90,60.5],[0,0]],[[9,9],[20,9],[20,20],[9,9]]]}'
    collection = ('{"type":"GeometryCollection","geometries":[{"type":"MultiPolygon","coordinates":[[[[1,2],[3e1,2],[3,40]]],'
                  '[[[-5,-5],[500,-5],[500,500],[-5,-5]]]]},{"type":"Point","coordinates":[1,2,3]},' + square + "]}")
    properties = ('{"objectType":"annotation","name":"a \\"b","classification":{"names":["Tumor","Positive"],"color":[1,2,3]},'
                  '"measurements":{"x":NaN,"y":-Infinity,"z":-1.5e3}}')
    feature = '{"type":"Feature","id":"PathAnnotationObject","geometry":%s,"properties":%s}'
    both = [feature % (square, properties), feature % (collection, '{"classification":{"name":"Stroma"}}')]
    write("geojson", "array", ("[" + ",\n".join(both) + "]").encode())
    write("geojson", "collection", ('{"type":"FeatureCollection","features":[' + ",".join(both) + "]}").encode())
    write("geojson", "feature", both[0].encode())
    write("geojson", "geometry", collection.encode())
    write("geojson", "lines", b'[{"type":"LineString","coordinates":[[0,0],[1,1]]},{"type":"Feature","geometry":null}]')
    write("geojson", "gzip", gzip.compress(both[1].encode(), mtime=0))


def parts(kind, *texts):
    """The parts of fuzz_parts(): all but the last after their length."""
    return bytes([kind]) + b"".join(len(t).to_bytes(2, "little") + t for t in texts[:-1]) + texts[-1]


def positions_and_matrices(spatial, write):
    for path in sorted(spatial.glob("*.parquet")):
        write("positions", path.name, path.read_bytes())
    header = b"barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres\n"
    rows = b"AAA-1,1,0,0,20.5,100\nBBB-1,0,1,1,-124.5,160\n"
    write("positions", "header.csv", header + rows)
    write("positions", "plain.csv", rows)
    write("positions", "rows.csv.gz", gzip.compress(rows, mtime=0))
    write("positions", "scale.json", b'{"spot_diameter_fullres": 78.5, "bin_size_um": 8.0, "microns_per_pixel": 0.27}')
    mtx = b"%%MatrixMarket matrix coordinate integer general\n%\n2 2 3\n1 1 3\n2 1 9\n2 2 1\n"
    features = b"ENSG01\tPMEL\tGene Expression\nENSG02\tCD3\tAntibody Capture\n"
    write("matrix_market", "v3", parts(0, b"AAA-1\nBBB-1\n", features, mtx))
    write("matrix_market", "v2", parts(0, b"AAA-1\nBBB-1\n", b"ENSG01\tPMEL\nENSG02\tCD3\n", gzip.compress(mtx, mtime=0)))
    counts = b"\tACTB\tTP53\n10x21\t0\t3\n11x21\t1\t0\n"
    spots = b"x\ty\tpixel_x\tpixel_y\tselected\n10\t21\t0.5\t50\t1\n11\t21\t290.5\t50\t1\n"
    write("matrix_market", "st", parts(1, counts, spots))
    for target in ("h5ad", "tenx_h5"):
        for i in range(32):
            write(target, f"{i:02}", bytes((7 * i + 31 * k + k * k) % 256 for k in range(40)) + bytes([i]))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
