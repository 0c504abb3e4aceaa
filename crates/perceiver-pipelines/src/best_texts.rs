//! The most probable texts of a number of independent bytes.

/// Candidates for one position: bytes with their log-probabilities.
pub(crate) type Choices = Vec<(u8, f64)>;

/// The position inside a multi-byte character where a prefix ends, distinguished by the bytes that
/// may follow.
///
/// # Source
/// Table 3-7, well-formed UTF-8 byte sequences, of the Unicode standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Complete,
    OneMore,
    TwoMore,
    ThreeMore,
    AfterE0,
    AfterEd,
    AfterF0,
    AfterF4,
}

const STATES: usize = 8;

impl State {
    const ALL: [Self; STATES] = [
        Self::Complete,
        Self::OneMore,
        Self::TwoMore,
        Self::ThreeMore,
        Self::AfterE0,
        Self::AfterEd,
        Self::AfterF0,
        Self::AfterF4,
    ];

    fn next(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Complete, 0x00..=0x7F) => Some(Self::Complete),
            (Self::Complete, 0xC2..=0xDF) => Some(Self::OneMore),
            (Self::Complete, 0xE0) => Some(Self::AfterE0),
            (Self::Complete, 0xED) => Some(Self::AfterEd),
            (Self::Complete, 0xE1..=0xEF) => Some(Self::TwoMore),
            (Self::Complete, 0xF0) => Some(Self::AfterF0),
            (Self::Complete, 0xF1..=0xF3) => Some(Self::ThreeMore),
            (Self::Complete, 0xF4) => Some(Self::AfterF4),
            (Self::OneMore, 0x80..=0xBF) => Some(Self::Complete),
            (Self::TwoMore, 0x80..=0xBF) => Some(Self::OneMore),
            (Self::ThreeMore, 0x80..=0xBF) => Some(Self::TwoMore),
            (Self::AfterE0, 0xA0..=0xBF) | (Self::AfterEd, 0x80..=0x9F) => Some(Self::OneMore),
            (Self::AfterF0, 0x90..=0xBF) | (Self::AfterF4, 0x80..=0x8F) => Some(Self::TwoMore),
            _ => None,
        }
    }
}

/// A prefix, as its last byte and the shorter prefix before it.
#[derive(Debug, Clone, Copy)]
struct Prefix {
    score: f64,
    state: State,
    byte: u8,
    /// Index of the shorter prefix in the previous step.
    before: u32,
}

/// The `count` most probable texts with one byte per position, with their log-probabilities, best
/// first; fewer if there are not as many.
///
/// Prefixes that end in the same state have the same continuations, so keeping the best `count` of
/// each state is exact: no discarded prefix could become one of the best texts.
pub(crate) fn best_texts(places: &[Choices], count: usize) -> Vec<(String, f64)> {
    let mut steps: Vec<Vec<Prefix>> = Vec::with_capacity(places.len());
    let start = [Prefix { score: 0.0, state: State::Complete, byte: 0, before: 0 }];
    for choices in places {
        let mut choices = choices.clone();
        choices.sort_by(|one, other| other.1.total_cmp(&one.1));
        let prefixes = steps.last().map_or(&start[..], Vec::as_slice);
        steps.push(extend(prefixes, &choices, count));
    }
    let Some(last) = steps.last() else {
        return Vec::new();
    };
    let complete = last.iter().enumerate().filter(|(_, prefix)| prefix.state == State::Complete);
    complete.filter_map(|(index, prefix)| Some((text(&steps, index)?, prefix.score))).collect()
}

/// The best `count` prefixes of each state that are one byte longer, best first.
fn extend(prefixes: &[Prefix], choices: &[(u8, f64)], count: usize) -> Vec<Prefix> {
    let mut longer: [Vec<Prefix>; STATES] = Default::default();
    for state in State::ALL {
        let mut continuations: [Choices; STATES] = Default::default();
        for &(byte, score) in choices {
            if let Some(next) = state.next(byte) {
                continuations[next as usize].push((byte, score));
            }
        }
        let prefixes = prefixes.iter().zip(0..).filter(|(prefix, _)| prefix.state == state);
        for (rank, (prefix, before)) in prefixes.enumerate() {
            // The byte of rank j after the prefix of rank i, both from 1, comes after i · j - 1
            // others that end in the same state.
            let enough = count / (rank + 1);
            for next in State::ALL {
                for &(byte, score) in continuations[next as usize].iter().take(enough) {
                    let score = prefix.score + score;
                    longer[next as usize].push(Prefix { score, state: next, byte, before });
                }
            }
        }
    }
    for prefixes in &mut longer {
        prefixes.sort_by(|one, other| other.score.total_cmp(&one.score));
        prefixes.truncate(count);
    }
    longer.concat()
}

fn text(steps: &[Vec<Prefix>], mut index: usize) -> Option<String> {
    let mut bytes = Vec::with_capacity(steps.len());
    for step in steps.iter().rev() {
        let prefix = step.get(index)?;
        bytes.push(prefix.byte);
        index = prefix.before as usize;
    }
    bytes.reverse();
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn choices(pairs: &[(u8, f64)]) -> Choices {
        pairs.iter().map(|&(byte, probability)| (byte, probability.ln())).collect()
    }

    /// Every text there is, tried one by one.
    fn exhaustive(places: &[Choices], count: usize) -> Vec<(String, f64)> {
        let mut all: Vec<(Vec<u8>, f64)> = vec![(Vec::new(), 0.0)];
        for choices in places {
            all = all
                .iter()
                .flat_map(|(bytes, score)| {
                    choices.iter().map(move |&(byte, probability)| {
                        ([&bytes[..], &[byte]].concat(), score + probability)
                    })
                })
                .collect();
        }
        let mut texts: Vec<(String, f64)> = all
            .into_iter()
            .filter_map(|(bytes, score)| Some((String::from_utf8(bytes).ok()?, score)))
            .collect();
        texts.sort_by(|one, other| other.1.total_cmp(&one.1));
        texts.truncate(count);
        texts
    }

    #[test]
    fn a_whole_character_beats_the_best_single_bytes() {
        // Byte by byte, the best would be 0xC3 and "b", which is not valid UTF-8.
        let places = [choices(&[(0xC3, 0.6), (b'a', 0.4)]), choices(&[(b'b', 0.7), (0xA9, 0.3)])];
        let texts = best_texts(&places, 5);
        assert_eq!(texts.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>(), ["ab", "é"]);
        assert!((texts[0].1.exp() - 0.28).abs() < 1e-12);
        assert!((texts[1].1.exp() - 0.18).abs() < 1e-12);
    }

    #[test]
    fn the_best_texts_are_those_of_an_exhaustive_search() {
        let mut state = 7_u64;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let bytes = [
            b'a', b'z', 0x80, 0x90, 0xA0, 0xBF, 0xC2, 0xE0, 0xE2, 0xED, 0xF0, 0xF1, 0xF4, 0xFF,
            0xC0,
        ];
        for length in 1..=4 {
            for count in [1, 2, 3, 10, 100] {
                let places: Vec<Choices> = (0..length)
                    .map(|_| bytes.iter().map(|&byte| (byte, random().ln())).collect())
                    .collect();
                let found = best_texts(&places, count);
                let expected = exhaustive(&places, count);
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(&expected) {
                    assert_eq!(found.0, expected.0);
                    assert!((found.1 - expected.1).abs() < 1e-9);
                }
            }
        }
    }

    #[test]
    fn single_bytes_are_ascii_and_run_out() {
        let place: Choices = (0..=255).map(|byte| (byte, -f64::from(byte))).collect();
        let texts = best_texts(&[place], 1000);
        assert_eq!(texts.len(), 128);
        assert_eq!(texts[1].0, "\u{1}");
    }

    #[test]
    fn long_spans_do_not_underflow() {
        let places = vec![choices(&[(b'x', 0.001), (b'y', 0.0001)]); 2000];
        let texts = best_texts(&places, 2);
        assert_eq!(texts[0].0, "x".repeat(2000));
        assert_eq!(texts[1].0.matches('y').count(), 1);
    }

    #[test]
    fn nothing_comes_of_nothing() {
        assert!(best_texts(&[], 3).is_empty());
        assert!(best_texts(&[Vec::new()], 3).is_empty());
        assert!(best_texts(&[choices(&[(b'a', 1.0)])], 0).is_empty());
    }
}
