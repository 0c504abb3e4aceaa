"""Logistic regression on the pixels of labelled pictures in IDX files.

`images.py FOLDER [--first N]`; FOLDER holds the four files of MNIST or a data set in its format.
Pixels go from 0 to 1; L2 penalty with C = 0.1, at most 200 iterations of L-BFGS.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression


def values(folder: Path, name: str) -> np.ndarray:
    """The values of an IDX file of unsigned bytes."""
    with gzip.open(folder / f"{name}.gz") as file:
        data = file.read()
    rank = data[3]
    shape = np.frombuffer(data, ">u4", rank, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def part(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels, a row for each picture, and classes."""
    pictures = values(folder, f"{name}-images-idx3-ubyte")
    return pictures.reshape(len(pictures), -1) / 255, values(folder, f"{name}-labels-idx1-ubyte")


def main() -> None:
    """Prints the share of test pictures whose class is found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first", type=int, help="train on so many pictures only")
    arguments = parser.parse_args()
    pixels, classes = part(arguments.folder, "train")
    regression = LogisticRegression(C=0.1, max_iter=200)
    regression.fit(pixels[: arguments.first], classes[: arguments.first])
    accuracy = regression.score(*part(arguments.folder, "t10k"))
    print(f"{len(classes[: arguments.first])} pictures: {100 * accuracy:.2f} %")


if __name__ == "__main__":
    main()
