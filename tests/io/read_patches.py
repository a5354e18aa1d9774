"""Opens files of patches as CLAM's and TRIDENT's own readers do, and prints what they see as JSON.

read_patches.py clam SLIDE PATCHES.h5 FEATURES.h5 FEATURES.pt
read_patches.py trident SLIDE PATCHES.h5 FEATURES.h5
"""

import collections
import json
import pickle
import shutil
import sys
import zipfile

import h5py
import numpy as np
import openslide


def mean_colour(slide, corner, level, size, to):
    image = slide.read_region(tuple(int(v) for v in corner), level, (size, size)).convert("RGB")
    if to is not None:
        image = image.resize((to, to))
    return [float(v) for v in np.asarray(image).reshape(-1, 3).mean(axis=0)]


def attributes(dataset):
    return {name: value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
            for name, value in dataset.attrs.items()}


def grown(path):
    """Both tools add the patches of a further contour or batch to a dataset that is there."""
    shutil.copy(path, path + ".grown")
    with h5py.File(path + ".grown", "a") as file:
        rows = len(file["coords"])
        file["coords"].resize(rows + 2, axis=0)
        file["coords"][-2:] = np.array([[1, 2], [3, 4]])
        return len(file["coords"])


def features(path):
    with h5py.File(path, "r") as file:
        values, coords = file["features"][:], file["coords"][:]
        return {"shape": list(values.shape), "dtype": str(values.dtype), "rows": values.tolist(),
                "coords": coords.tolist(), "coords_dtype": str(coords.dtype), "features_attrs": attributes(file["features"]),
                "coords_attrs": attributes(file["coords"])}


def loaded(path):
    """torch.load, or where PyTorch is not installed its steps: a zip archive, a pickle in it, and storages beside it."""
    try:
        import torch
    except ImportError:
        pass
    else:
        return torch.load(path)
    archive = zipfile.ZipFile(path)
    assert archive.testzip() is None  # compares the CRCs
    root = archive.namelist()[0].split("/")[0]
    assert archive.read(f"{root}/byteorder") == b"little" and int(archive.read(f"{root}/version")) == 3

    def rebuild(storage, offset, size, stride, requires_grad, hooks):
        assert not requires_grad and not hooks
        strides = [4 * step for step in stride]
        return np.lib.stride_tricks.as_strided(storage[offset:], size, strides)

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            return {"torch._utils._rebuild_tensor_v2": rebuild, "torch.FloatStorage": np.float32,
                    "collections.OrderedDict": collections.OrderedDict}[module + "." + name]

        def persistent_load(self, saved):
            kind, dtype, key, device, count = saved
            assert kind == "storage" and device == "cpu"
            values = np.frombuffer(archive.read(f"{root}/data/{key}"), dtype)
            assert len(values) == count
            return values

    return Unpickler(archive.open(f"{root}/data.pkl")).load()


def clam(slide_path, patches, feature_file, tensor_file):
    slide = openslide.open_slide(slide_path)
    with h5py.File(patches, "r") as file:
        dataset = file["coords"]
        level, size = dataset.attrs["patch_level"], dataset.attrs["patch_size"]
        seen = {"attrs": attributes(dataset), "length": len(dataset), "coords": dataset[:].tolist(),
                "coords_dtype": str(dataset.dtype), "chunk": list(dataset.chunks)}
        seen["colours"] = [mean_colour(slide, dataset[i], level, size, None) for i in range(len(dataset))]
        # As the heat maps do: the patch's side on level 0.
        seen["side"] = [int(v) for v in (np.array([size, size]) * dataset.attrs["downsample"]).astype(int)]
    seen["grown"] = grown(patches)
    seen["features"] = features(feature_file)
    tensor = loaded(tensor_file)
    seen["tensor"] = {"shape": list(tensor.shape), "rows": tensor.tolist(), "dtype": str(tensor.dtype).split(".")[-1]}
    return seen


def trident(slide_path, patches, feature_file):
    slide = openslide.open_slide(slide_path)
    with h5py.File(patches, "r") as file:
        attrs, coords = dict(file["coords"].attrs), file["coords"][:]
    patch_size = attrs.get("patch_size")
    level0_magnification = attrs.get("level0_magnification")
    target_magnification = attrs.get("target_magnification")
    if None in (patch_size, level0_magnification, target_magnification):
        raise KeyError("missing attributes")
    # The patcher's own arithmetic: pixel sizes from magnifications, a level, and a patch on it that is resized.
    downsample = (10 / target_magnification) / (10 / level0_magnification)
    patch_size_src = round(patch_size * downsample)
    level = slide.get_best_level_for_downsample(downsample)
    patch_size_level = round(patch_size_src / int(slide.level_downsamples[level]))
    width, height = slide.dimensions
    assert all(x < width and y < height for x, y in coords)
    with h5py.File(patches, "r") as file:
        seen = {"attrs": attributes(file["coords"])}
    seen.update({"coords": coords.tolist(), "coords_dtype": str(coords.dtype), "patch_size_src": patch_size_src,
                 "colours": [mean_colour(slide, c, level, patch_size_level, int(patch_size)) for c in coords],
                 "grown": grown(patches), "features": features(feature_file)})
    return seen


if __name__ == "__main__":
    print(json.dumps({"clam": clam, "trident": trident}[sys.argv[1]](*sys.argv[2:])))
