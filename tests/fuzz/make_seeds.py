"""Seeds of the fuzzers from the golden files: make_seeds.py GOLDEN OUT.

OUT/<target>/ gets the files each target reads as they are; for the pickle machine the pickles of the archives, and for
the checkpoint reader also those pickles behind the byte that has them wrapped in an archive with right checksums.
"""

import pathlib
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


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
