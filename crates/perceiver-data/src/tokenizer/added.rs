//! Tokens that stand for a whole string, and how they are found in text.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// A string that is one token wherever it occurs in text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedToken {
    /// The string.
    pub content: String,
    /// If true, it is a token only between spaces or ends of the text.
    pub single_word: bool,
    /// If true, it absorbs white space on its left.
    pub lstrip: bool,
    /// If true, it absorbs white space on its right.
    pub rstrip: bool,
    /// Kept for the settings file; as in the reference, it has no effect.
    pub normalized: bool,
    /// Kept for the settings file; a token's role decides if it is special.
    pub special: bool,
}

impl AddedToken {
    pub(super) fn new(content: impl Into<String>) -> Self {
        Self {
            content: content.into(),
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: true,
            special: false,
        }
    }
}

/// A stretch of the text between two cuts.
///
/// It is a single range unless a word that must not be split was joined again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece(Vec<Range<usize>>);

impl Piece {
    pub(super) fn new(range: Range<usize>) -> Self {
        Self(std::iter::once(range).collect())
    }

    pub(super) fn content<'text>(&self, text: &'text str) -> Cow<'text, str> {
        match self.0.as_slice() {
            [range] => Cow::Borrowed(&text[range.clone()]),
            ranges => ranges.iter().map(|range| &text[range.clone()]).collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The range from the first to the last byte; `None` if nothing is left of the piece.
    pub(super) fn span(&self) -> Option<Range<usize>> {
        Some(self.0.first()?.start..self.0.last()?.end)
    }

    pub(super) fn byte_positions(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().cloned().flatten()
    }

    fn trim_start(&mut self, text: &str) {
        while let Some(first) = self.0.first_mut() {
            let kept = text[first.clone()].trim_start_matches(is_white_space);
            first.start = first.end - kept.len();
            if !kept.is_empty() {
                return;
            }
            self.0.remove(0);
        }
    }

    fn trim_end(&mut self, text: &str) {
        while let Some(last) = self.0.last_mut() {
            let kept = text[last.clone()].trim_end_matches(is_white_space);
            last.end = last.start + kept.len();
            if !kept.is_empty() {
                return;
            }
            self.0.pop();
        }
    }

    fn take(&mut self) -> Vec<Range<usize>> {
        std::mem::take(&mut self.0)
    }
}

/// Matches Python's `str.isspace`: Unicode white space and the four ASCII separators.
pub(super) fn is_white_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// A prefix tree over the contents of all added tokens.
///
/// # Source
/// `Trie` of `tokenization_python.py`, step by step: the order of its comparisons decides which
/// of several overlapping tokens wins.
#[derive(Debug, Clone, Default)]
pub(super) struct Trie {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    children: BTreeMap<char, usize>,
    ends_token: bool,
}

/// A token that may begin at character `start`, matched up to `node`.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    start: usize,
    node: usize,
}

/// A token that was found, in characters; scanning continues at `resume`.
struct Match {
    start: usize,
    end: usize,
    resume: usize,
}

impl Trie {
    pub(super) fn new<'token>(contents: impl IntoIterator<Item = &'token str>) -> Self {
        let mut nodes = vec![Node::default()];
        for content in contents.into_iter().filter(|content| !content.is_empty()) {
            let mut node = 0;
            for character in content.chars() {
                let next = nodes.len();
                let child = *nodes[node].children.entry(character).or_insert(next);
                if child == next {
                    nodes.push(Node::default());
                }
                node = child;
            }
            nodes[node].ends_token = true;
        }
        Self { nodes }
    }

    /// Cuts the text at both ends of every token. Of several tokens at a place, the one that begins
    /// first and is the longest wins.
    pub(super) fn split(&self, text: &str) -> Vec<Piece> {
        let characters: Vec<(usize, char)> = text.char_indices().collect();
        let mut cuts = vec![0];
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut resume = 0;

        for (current, &(_, character)) in characters.iter().enumerate() {
            if current < resume {
                continue;
            }
            let mut found = None;
            let mut failed = Vec::new();
            for index in 0..candidates.len() {
                let Candidate { start, node } = candidates[index];
                if self.nodes[node].ends_token {
                    found = Some(self.longest(&characters, &candidates, start, current, resume));
                    break;
                }
                match self.nodes[node].children.get(&character) {
                    Some(&child) => candidates[index].node = child,
                    None => failed.push(start),
                }
            }
            if let Some(found) = found {
                cuts.extend([found.start, found.end]);
                resume = found.resume;
                candidates.clear();
            } else if !failed.is_empty() {
                candidates.retain(|candidate| !failed.contains(&candidate.start));
            }
            if current >= resume
                && let Some(&node) = self.nodes[0].children.get(&character)
            {
                candidates.push(Candidate { start: current, node });
            }
        }
        if let Some(last) =
            candidates.iter().find(|candidate| self.nodes[candidate.node].ends_token)
        {
            cuts.extend([last.start, characters.len()]);
        }
        cuts.push(characters.len());

        let byte = |cut: usize| characters.get(cut).map_or(text.len(), |&(byte, _)| byte);
        let mut pieces = Vec::new();
        let mut start = 0;
        for end in cuts {
            if start < end {
                pieces.push(Piece::new(byte(start)..byte(end)));
                start = end;
            }
        }
        pieces
    }

    /// A token that began at `start` is complete at `current`. Prefers one that began earlier and
    /// ends later, or one that continues from here.
    fn longest(
        &self,
        characters: &[(usize, char)],
        candidates: &[Candidate],
        start: usize,
        current: usize,
        resume: usize,
    ) -> Match {
        let mut found = Match { start, end: current, resume };
        for candidate in candidates {
            if candidate.start > found.start {
                break;
            }
            // Candidates before this one have already taken the current character.
            let earlier = candidate.start < found.start;
            let mut index = current + usize::from(earlier);
            found.end = index;
            let mut node = candidate.node;
            loop {
                if self.nodes[node].ends_token {
                    found.start = candidate.start;
                    found.end = index;
                    found.resume = index;
                }
                let next = characters
                    .get(index)
                    .and_then(|(_, character)| self.nodes[node].children.get(character));
                match next {
                    Some(&child) => node = child,
                    None => break,
                }
                index += 1;
            }
        }
        found
    }
}

/// Lets tokens absorb the white space beside them, and undoes single-word tokens that are part of
/// a longer word.
///
/// # Source
/// The loop of `PythonBackend.tokenize`.
pub(super) fn apply_token_flags(
    pieces: &mut [Piece],
    text: &str,
    encoder: &HashMap<String, u32>,
    added: &BTreeMap<u32, AddedToken>,
) {
    for index in 0..pieces.len() {
        let content = pieces[index].content(text);
        let Some(token) = encoder.get(content.as_ref()).and_then(|id| added.get(id)) else {
            continue;
        };
        let left = index.checked_sub(1).filter(|&left| !pieces[left].is_empty());
        let right = Some(index + 1).filter(|&right| right < pieces.len());
        // `single_word` looks at the spaces as they were before any was absorbed.
        let joined_left = left.is_some_and(|left| !pieces[left].content(text).ends_with(' '));
        let joined_right = right.is_some_and(|right| {
            !pieces[right].is_empty() && !pieces[right].content(text).starts_with(' ')
        });
        if let Some(right) = right.filter(|_| token.rstrip) {
            pieces[right].trim_start(text);
        }
        if let Some(left) = left.filter(|_| token.lstrip) {
            pieces[left].trim_end(text);
        }
        if !token.single_word {
            continue;
        }
        if let Some(left) = left.filter(|_| joined_left) {
            let ranges = pieces[index].take();
            pieces[left].0.extend(ranges);
        } else if let Some(right) = right.filter(|_| joined_right) {
            let mut ranges = pieces[index].take();
            ranges.append(&mut pieces[right].0);
            pieces[right].0 = ranges;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Trie;

    fn split(tokens: &[&str], text: &str) -> Vec<String> {
        Trie::new(tokens.iter().copied())
            .split(text)
            .iter()
            .map(|piece| piece.content(text).into_owned())
            .collect()
    }

    #[test]
    fn text_without_tokens_stays_whole() {
        assert_eq!(split(&["[CLS]"], "[MASK] [CL"), ["[MASK] [CL"]);
        assert!(split(&["[CLS]"], "").is_empty());
    }

    #[test]
    fn the_longest_of_several_tokens_wins() {
        assert_eq!(
            split(&["[CLS]", "extra_id_1", "extra_id_100"], "[CLS] This is a extra_id_100"),
            ["[CLS]", " This is a ", "extra_id_100"]
        );
    }

    #[test]
    fn a_token_inside_a_failed_one_is_found() {
        assert_eq!(split(&["blowing", "lower"], "blower"), ["b", "lower"]);
        assert_eq!(split(&["[CLS]", "L"], "[CLS]"), ["[CLS]"]);
    }
}
