"""Logistic regression on the characters of labelled texts.

`texts.py FOLDER...`; each FOLDER holds train.csv and test.csv with the columns label and text, as `cargo xtask data`
writes them. Features are n-grams of one to four characters that occur in at least two texts, weighted by TF-IDF with
the logarithm of counts; L2 penalty with C = 10.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline


def table(path: Path) -> tuple[list[str], list[str]]:
    """Texts and labels."""
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def main() -> None:
    """Prints the share of test texts whose label is found, and the mean of the labels' F1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+")
    for folder in parser.parse_args().folder:
        features = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True, min_df=2)
        regression = make_pipeline(features, LogisticRegression(C=10, max_iter=1000))
        texts, labels = table(folder / "train.csv")
        regression.fit(texts, labels)
        texts, labels = table(folder / "test.csv")
        found = regression.predict(texts)
        accuracy = sum(a == b for a, b in zip(found, labels, strict=True)) / len(labels)
        f1 = f1_score(labels, found, average="macro")
        print(f"{folder.name}: accuracy {100 * accuracy:.2f} %, macro F1 {f1:.4f}, {len(labels)} texts")


if __name__ == "__main__":
    main()
