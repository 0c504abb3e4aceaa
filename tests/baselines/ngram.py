"""An interpolated 5-gram model of bytes, trained on one text, measured on another.

`ngram.py --train FILE... --held-out FILE`

Kneser-Ney smoothing, interpolated, with one discount for each length of context (Chen and Goodman, An Empirical Study
of Smoothing Techniques for Language Modeling, section 2.7). With `h` the last n - 1 bytes and `h'` all of them but
the first:

    P_n(b | h) = max(c_n(h b) - D_n, 0) / c_n(h) + D_n types_n(h) / c_n(h) P_{n-1}(b | h')
    P_0(b) = 1 / 256

`c_5` counts occurrences, `c_n` of the shorter ones counts the different bytes seen before; `c_n(h)` is their sum and
`types_n(h)` the number of different bytes seen after `h`; `D_n = s_1 / (s_1 + 2 s_2)`, where `s_k` n-grams have the
count k. What never followed `h` has P_{n-1}.

Three numbers, in bits:

- every byte, from the true bytes before it;
- masked bytes, likewise. Masked are whole words, all bytes between white space; as every word is masked with the same
  probability, the mean is over the bytes of all words. The model sees the true bytes of the masked word up to the one
  that it is asked for, which a masked language model does not;
- masked bytes, from what a masked language model sees nearby: four true bytes on both sides of the word, its length,
  and that none of its bytes is white space. What is asked for is the probability of each byte over all fillings of the
  others, by the forward and the backward sum over paths of the model. Over a sample of words.
"""

from __future__ import annotations

import argparse
import math
import random
import re
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np

ORDER = 5
BYTES = 256
BYTE = [bytes([byte]) for byte in range(BYTES)]
SPACE = [byte for byte in range(BYTES) if BYTE[byte].isspace()]
# Words of the sample.
WORDS = 1000
# Contexts followed from byte to byte, the likeliest ones. With half as many the third number is 0.005 more.
PATHS = 4000
# Share of the single bytes' probabilities, for what is on no path.
ELSEWHERE = 0.005


class Model:
    """Probabilities of the next byte."""

    def __init__(self, text: bytes) -> None:
        grams = Counter(text[i : i + ORDER] for i in range(len(text) - ORDER + 1))
        self.next: list[dict[bytes, dict[int, int]]] = []
        self.discounts: list[float] = []
        for _ in range(ORDER):
            sizes = Counter(grams.values())
            self.discounts.insert(0, sizes[1] / (sizes[1] + 2 * sizes[2]))
            followers: dict[bytes, dict[int, int]] = {}
            for gram, count in grams.items():
                followers.setdefault(gram[:-1], {})[gram[-1]] = count
            self.next.insert(0, followers)
            grams = Counter(gram[1:] for gram in grams)

    @cache
    def row(self, context: bytes) -> np.ndarray:
        """The probability of each byte after at most four."""
        if not context:
            shorter = np.full(BYTES, 1 / BYTES)
        else:
            shorter = self.row(context[1:])
        counts = self.next[len(context)].get(context)
        if counts is None:
            return shorter
        discount, total = self.discounts[len(context)], sum(counts.values())
        row = shorter * (discount * len(counts) / total)
        for byte, count in counts.items():
            row[byte] += (count - discount) / total
        return row


def bits(model: Model, text: bytes) -> np.ndarray:
    """The cost of each byte after the true ones before it."""
    costs = np.empty(len(text))
    for place, byte in enumerate(text):
        costs[place] = -math.log2(model.row(text[max(0, place - ORDER + 1) : place])[byte])
    return costs


def hidden_bits(model: Model, before: bytes, word: bytes, after: bytes) -> list[float]:
    """The cost of each byte of a word of which only the length and what surrounds it are known."""
    paths, forward, steps = [before], np.ones(1), []
    for _ in word:
        rows = np.array([model.row(path) for path in paths])
        rows[:, SPACE] = 0
        reached = forward[:, None] * rows
        origin, value = np.nonzero(reached > reached.max() * 1e-6)
        likeliest: Counter[bytes] = Counter()
        for path, byte in zip(origin, value, strict=True):
            likeliest[(paths[path] + BYTE[byte])[1 - ORDER :]] += reached[path, byte]
        following = dict(likeliest.most_common(PATHS))
        place = {path: index for index, path in enumerate(following)}
        target = np.array([place.get((paths[p] + BYTE[b])[1 - ORDER :], -1) for p, b in zip(origin, value, strict=True)])
        kept = target >= 0
        origin, value, target = origin[kept], value[kept], target[kept]
        steps.append((len(paths), origin, value, target, rows[origin, value], reached[origin, value]))
        paths, forward = list(following), np.array(list(following.values()))
    backward = np.ones(len(paths))
    for index, path in enumerate(paths):
        for place, byte in enumerate(after):
            backward[index] *= model.row((path + after[:place])[1 - ORDER :])[byte]
    costs = []
    for byte, (count, origin, value, target, step, reached) in zip(word[::-1], steps[::-1], strict=True):
        shares = np.bincount(value, reached * backward[target], BYTES)
        share = shares[byte] / shares.sum() * (1 - ELSEWHERE) + ELSEWHERE * model.row(b"")[byte]
        costs.append(-math.log2(share))
        backward = np.bincount(origin, step * backward[target], count)
        backward /= backward.max()
    return costs


def main() -> None:
    """Prints the three numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, nargs="+", required=True)
    parser.add_argument("--held-out", type=Path, required=True)
    arguments = parser.parse_args()
    model = Model(b"\n".join(path.read_bytes() for path in arguments.train))
    text = arguments.held_out.read_bytes()
    costs = bits(model, text)
    print(f"every byte: {costs.mean():.3f}")
    words = [match.span() for match in re.finditer(rb"\S+", text)]
    masked = np.concatenate([costs[start:end] for start, end in words])
    print(f"masked bytes, those before them known: {masked.mean():.3f}")
    inner = [(start, end) for start, end in words if start >= ORDER and end + ORDER <= len(text)]
    hidden = [
        cost
        for start, end in random.Random(0).sample(inner, min(WORDS, len(inner)))
        for cost in hidden_bits(model, text[start - ORDER + 1 : start], text[start:end], text[end : end + ORDER - 1])
    ]
    error = np.std(hidden) / math.sqrt(len(hidden))
    print(f"masked bytes, the whole word hidden: {np.mean(hidden):.3f} ± {error:.3f}")


if __name__ == "__main__":
    main()
