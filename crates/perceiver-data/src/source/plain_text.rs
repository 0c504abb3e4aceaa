use std::path::{Path, PathBuf};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{MaskedText, Remarks, Source, WholeWordMask};
use crate::error::{Error, Result};
use crate::folder_files::{FileKind, files_of};
use crate::text_file::read_text;
use crate::tokenizer::PerceiverTokenizer;

/// Number of tokens around a text.
const SPECIAL_TOKENS: usize = 2;

/// Largest number of bytes of a character.
const LONGEST_CHARACTER: usize = 4;

/// Pieces of texts with masked words, for training a masked language model.
///
/// Files are concatenated, each starting on a new line. Pieces begin and end between characters, so
/// some are a few bytes shorter than requested.
///
/// # Source
/// Perceiver IO section 4.1: documents are concatenated, then cropped.
#[derive(Debug, Clone)]
pub struct PlainText {
    /// The first file, which errors name for all of them.
    path: PathBuf,
    text: String,
    tokenizer: PerceiverTokenizer,
    /// Length of a piece, in bytes.
    length: usize,
    pieces: Pieces,
    mask: WholeWordMask,
    /// Why files were left out.
    left_out: Vec<String>,
    notes: Vec<String>,
}

/// How pieces are taken from a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pieces {
    /// At random places, as many as would cover the text: for training.
    Random,
    /// One after another: for evaluation.
    Consecutive,
}

impl PlainText {
    /// Fewest tokens of a piece: the special tokens and room for a character wherever it begins.
    pub const SHORTEST: usize = SPECIAL_TOKENS + 2 * LONGEST_CHARACTER - 1;

    /// Reads files, for pieces of at most `length` tokens including special ones. A folder stands for
    /// its texts (`.txt`, `.txt.gz`) in the order of their names. Leaves out files that cannot be read
    /// as [`read_text`] does; [`remarks`](Source::remarks) names them.
    ///
    /// # Errors
    /// Returns an error if a file does not exist, a folder holds no texts, all files have to be left
    /// out, or none contains a word.
    ///
    /// # Panics
    /// If `length` is below [`SHORTEST`](Self::SHORTEST), which is 9.
    pub fn open(
        paths: &[impl AsRef<Path>],
        length: usize,
        pieces: Pieces,
        tokenizer: PerceiverTokenizer,
        mask: WholeWordMask,
    ) -> Result<Self> {
        assert!(length >= Self::SHORTEST, "{length} tokens, expected at least {}", Self::SHORTEST);
        let (mut text, mut notes, mut errors) = (String::new(), Vec::new(), Vec::new());
        let paths = files_of(paths, FileKind::Text, &mut notes)?;
        for path in &paths {
            match read_text(path) {
                Ok(read) => text.push_str(&read),
                Err(error) if !path.exists() => return Err(error),
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            }
            if !text.ends_with('\n') {
                text.push('\n');
            }
        }
        if errors.len() == paths.len() && !errors.is_empty() {
            return Err(errors.swap_remove(0));
        }
        let left_out = errors.iter().map(Error::to_string).collect();
        let path = paths.first().map_or(Path::new(""), AsRef::as_ref);
        if text.trim().is_empty() {
            return Err(Error::data(path, "it contains no words"));
        }
        let path = path.to_owned();
        // A last piece of line ends alone would have no word.
        text.truncate(text.trim_end().len());
        let length = length - SPECIAL_TOKENS;
        Ok(Self { path, text, tokenizer, length, pieces, mask, left_out, notes })
    }

    /// Bytes from one piece to the next. A piece that begins inside a character takes all of it and
    /// has room for it.
    const fn stride(&self) -> usize {
        self.length - (LONGEST_CHARACTER - 1)
    }

    fn piece(&self, start: usize, length: usize) -> &str {
        let end = (start + length).min(self.text.len());
        &self.text[self.text.floor_char_boundary(start)..self.text.floor_char_boundary(end)]
    }
}

impl Source for PlainText {
    type Example = MaskedText;

    fn len(&self) -> usize {
        self.text.len().div_ceil(self.stride())
    }

    fn example(&self, index: usize, random: &mut ChaCha8Rng) -> Result<MaskedText> {
        let stride = self.stride();
        let start = match self.pieces {
            Pieces::Random => random.random_range(0..=self.text.len().saturating_sub(stride)),
            Pieces::Consecutive => index * stride,
        };
        self.mask.apply(self.piece(start, stride), &self.tokenizer, random).ok_or_else(|| {
            Error::data(&self.path, format!("no word to mask at byte {start} of the text"))
        })
    }

    fn remarks(&self) -> Remarks {
        Remarks { left_out: self.left_out.clone(), notes: self.notes.clone() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn open(texts: &[&str], length: usize, pieces: Pieces) -> Result<PlainText> {
        let folder = tempfile::tempdir().unwrap();
        let file = |(index, text)| {
            let path = folder.path().join(format!("{index}.txt"));
            std::fs::write(&path, text).unwrap();
            path
        };
        let paths: Vec<PathBuf> = texts.iter().enumerate().map(file).collect();
        let mask = WholeWordMask { masked: 0.0, random: 0.0, ..WholeWordMask::default() };
        PlainText::open(&paths, length, pieces, PerceiverTokenizer::default(), mask)
    }

    /// Nothing is masked in these tests, so a piece keeps its text.
    fn piece(source: &PlainText, index: usize, seed: u64) -> String {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let ids = source.example(index, &mut random).unwrap().ids;
        let ids: Vec<u32> = ids.iter().map(|&id| id as u32).collect();
        PerceiverTokenizer::default().decode(&ids, false).unwrap()
    }

    #[test]
    fn consecutive_pieces_are_the_whole_text() {
        let source = open(&["añdéf€g", "hi\n"], 11, Pieces::Consecutive).unwrap();
        let all: Vec<String> = (0..source.len()).map(|index| piece(&source, index, 0)).collect();
        // Six bytes each, fewer if a character would be cut in two.
        assert_eq!(all, ["[CLS]añdé[SEP]", "[CLS]f€g\n[SEP]", "[CLS]hi[SEP]"]);
    }

    #[test]
    fn pieces_of_long_characters_have_no_more_tokens_than_asked_for() {
        for pieces in [Pieces::Consecutive, Pieces::Random] {
            let source = open(&["a😀€é😀b€😀😀"], 9, pieces).unwrap();
            for index in 0..source.len() {
                let mut random = ChaCha8Rng::seed_from_u64(index as u64);
                assert!(source.example(index, &mut random).unwrap().ids.len() <= 9);
            }
        }
    }

    #[test]
    fn random_pieces_come_from_anywhere_and_repeat_with_their_seed() {
        let source = open(&["abcdefgh"], 11, Pieces::Random).unwrap();
        let mut seen: Vec<String> = (0..64).map(|seed| piece(&source, 0, seed)).collect();
        assert_eq!(seen[5], piece(&source, 1, 5));
        seen.sort();
        seen.dedup();
        let pieces = ["abcdef", "bcdefg", "cdefgh"];
        assert_eq!(seen, pieces.map(|piece| format!("[CLS]{piece}[SEP]")));
        assert_eq!(source.len(), 2);
    }

    #[test]
    fn a_text_shorter_than_a_piece_is_one_piece() {
        let source = open(&["ab"], 20, Pieces::Random).unwrap();
        assert_eq!((source.len(), piece(&source, 0, 0)), (1, "[CLS]ab[SEP]".into()));
    }

    #[test]
    fn a_piece_without_a_word_is_an_error_with_its_place() {
        let source = open(&["ab          cd"], 11, Pieces::Consecutive).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let message = source.example(1, &mut random).unwrap_err().to_string();
        assert!(message.ends_with("no word to mask at byte 6 of the text"), "{message}");
    }

    #[test]
    fn a_file_that_is_no_text_is_left_out_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let [good, torn, missing] =
            ["a.txt", "b.txt", "c.txt"].map(|name| folder.path().join(name));
        std::fs::write(&good, "ab cd").unwrap();
        std::fs::write(&torn, b"caf\xe9").unwrap();
        let open = |paths: &[&PathBuf]| {
            let tokenizer = PerceiverTokenizer::default();
            PlainText::open(paths, 11, Pieces::Consecutive, tokenizer, WholeWordMask::measuring())
        };
        let source = open(&[&torn, &good]).unwrap();
        assert_eq!(source.text, "ab cd");
        let left_out = source.remarks().left_out;
        assert!(left_out.len() == 1 && left_out[0].ends_with("b.txt: invalid UTF-8 at byte 3"));
        assert!(open(&[&torn]).unwrap_err().to_string().contains("b.txt: invalid UTF-8"));
        assert!(open(&[&good, &missing]).unwrap_err().to_string().contains("c.txt: cannot read"));
    }

    #[test]
    fn a_folder_stands_for_its_texts() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        for (name, text) in [("b.txt", "b"), ("a.TXT", "\u{feff}a\r\n"), ("c.md", "c")] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let mask = WholeWordMask { masked: 0.0, random: 0.0, ..WholeWordMask::default() };
        let tokenizer = PerceiverTokenizer::default();
        let source = PlainText::open(&[folder], 9, Pieces::Consecutive, tokenizer, mask).unwrap();
        assert_eq!(piece(&source, 0, 0), "[CLS]a\nb[SEP]");
        let expected = "passed over, without the ending of a text: c.md";
        assert_eq!(source.remarks().notes, [format!("{}: {expected}", folder.display())]);
    }

    #[test]
    fn files_without_a_word_are_refused() {
        assert!(open(&[" \n", ""], 11, Pieces::Random).is_err());
    }
}
