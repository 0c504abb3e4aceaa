"""A sentiment regression on words and characters, whose logits are training targets for a model of bytes.

`teacher.py DATA`; DATA is the folder that `cargo xtask data` filled. The training data are the sentences of
sets/sentiment/train.csv and vaderSentiment's rated words and snippets, without those that are also in test.csv.
Features are character n-grams of two to five characters, words and pairs of words, weighted by TF-IDF with the logarithm
of counts; L2 penalty with C = 5. Writes texts with the regression's logits of both classes to sets/sentiment-taught:
train.csv holds each text three times, words and pieces of texts; mixed.csv joins short runs of words from anywhere in the
data; one text of fifty is held out for valid.csv. rated.csv holds the labelled sentences, each four times, and snippets.
No output contains sentences of test.csv.
"""

from __future__ import annotations

import argparse
import csv
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union

from texts import table

SNIPPETS = ["movieReviewSnippets", "amazonReviewSnippets", "nytEditorialSnippets", "tweets"]
# Ratings go from -4 to 4; those nearer to 0 are too weak to train on.
LEAST_RATING = 0.5
# Weights relative to a snippet.
SENTENCE_WEIGHT, WORD_WEIGHT = 4, 2
WHOLE_TIMES, PIECES_OF_TEXT = 3, 9
LONGEST_PIECE = 30
MIXTURES_OF_TEXT, LONGEST_RUN = 14, 8
TEXTS_FOR_ONE_HELD_OUT = 50

Rated = tuple[float, str]


def snippets(package: Path) -> Iterator[Rated]:
    """Mean ratings of snippets of reviews, editorials and tweets."""
    for name in SNIPPETS:
        lines = (package / "hutto_ICWSM_2014" / f"{name}_GroundTruth.txt").read_text("utf-8", errors="replace")
        for line in lines.split("\n"):
            if line:
                _, rating, text = line.split("\t", 2)
                yield float(rating), text.strip()


def words(package: Path) -> Iterator[Rated]:
    """Mean ratings of words."""
    for line in (package / "vaderSentiment" / "vader_lexicon.txt").read_text("utf-8").splitlines():
        word, rating, _ = line.split("\t", 2)
        if word.isalpha():
            yield float(rating), word


def label(rating: float) -> str:
    """The class of a rating."""
    return "positive" if rating > 0 else "negative"


def spoken(text: str) -> str:
    """The text without case and punctuation."""
    return re.sub(r"\W+", " ", text.lower()).strip()


def pieces(parts: list[str], count: int, draw: random.Random) -> Iterator[str]:
    """Runs of the words of all texts, short ones as often as long ones; many go from one text into the next."""
    for _ in range(count):
        length = int(LONGEST_PIECE ** draw.random())
        start = draw.randrange(len(parts) - length + 1)
        yield " ".join(parts[start : start + length])


def mixtures(parts: list[str], count: int, draw: random.Random) -> Iterator[str]:
    """Joined short runs of words from anywhere. Hardly two are the same, so the model cannot memorise them."""
    for _ in range(count):
        length = draw.randint(1, LONGEST_PIECE)
        mixed: list[str] = []
        while len(mixed) < length:
            start = draw.randrange(len(parts))
            mixed += parts[start : start + int(LONGEST_RUN ** draw.random())]
        yield " ".join(mixed[:length])


def write(path: Path, columns: list[str], rows: Iterable[tuple[str, ...]]) -> None:
    """Writes a table under a temporary name and renames it once it is complete."""
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    unfinished.replace(path)
    print(path)


def main() -> None:
    """Prints the accuracy of the regression and of one on characters only, and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    package, tables = data / "pypi" / "vaderSentiment", data / "sets" / "sentiment"
    for folder in package, tables:
        if not folder.is_dir():
            parser.error(f"{folder}: no such folder, run `cargo xtask data`")
    sentences, labels = table(tables / "train.csv")
    test, expected = table(tables / "test.csv")
    tested = {spoken(text) for text in test}
    rated = [(rating, text) for rating, text in snippets(package) if spoken(text) not in tested]
    lexicon = list(words(package))

    phrases = [(text, name, SENTENCE_WEIGHT) for text, name in zip(sentences, labels, strict=True)]
    phrases += [(text, label(rating), 1) for rating, text in rated if abs(rating) >= LEAST_RATING]
    single = [(word, label(rating), WORD_WEIGHT) for rating, word in lexicon if abs(rating) >= LEAST_RATING]
    learned, classes, weights = zip(*phrases, *single, strict=True)
    short = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True, min_df=2)
    characters = TfidfVectorizer(analyzer="char", ngram_range=(2, 5), sublinear_tf=True, min_df=2)
    pairs = TfidfVectorizer(token_pattern=r"[\w']+|[!?.]", ngram_range=(1, 2), sublinear_tf=True)
    for kind, features in ("up to four characters", short), ("characters and words", make_union(characters, pairs)):
        teacher = make_pipeline(features, LogisticRegression(C=5, max_iter=300, solver="liblinear"))
        teacher.fit(learned, classes, logisticregression__sample_weight=weights)
        right = sum(a == b for a, b in zip(teacher.predict(test), expected, strict=True))
        print(f"{kind}: accuracy {100 * right / len(test):.2f} %, {len(test)} texts")

    draw = random.Random(1)
    texts = sentences + [text for _, text in rated]
    draw.shuffle(texts)
    held_out = texts[::TEXTS_FOR_ONE_HELD_OUT]
    del texts[::TEXTS_FOR_ONE_HELD_OUT]
    parts = [word for text in texts for word in text.split()]
    taught = texts * WHOLE_TIMES + [word for _, word in lexicon]
    taught += pieces(parts, PIECES_OF_TEXT * len(texts), draw)
    draw.shuffle(taught)
    folder = data / "sets" / "sentiment-taught"
    folder.mkdir(exist_ok=True)
    mixed = [*texts, *mixtures(parts, MIXTURES_OF_TEXT * len(texts), draw)]
    draw.shuffle(mixed)
    for name, rows in ("train", taught), ("mixed", mixed), ("valid", held_out):
        # A regression's score is the logarithm of the odds: the difference of the classes' logits.
        halves = teacher.decision_function(rows) / 2
        logits = ((f"{-half:.3f}", f"{half:.3f}", text) for half, text in zip(halves, rows, strict=True))
        write(folder / f"{name}.csv", ["negative", "positive", "text"], logits)
    repeated = ((name, text) for text, name, weight in phrases for _ in range(weight))
    write(folder / "rated.csv", ["label", "text"], repeated)


if __name__ == "__main__":
    main()
