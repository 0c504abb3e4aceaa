//! File patterns such as `trip/**/*.jpg`, for names of any bytes.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The files that a pattern stands for, ordered by path.
///
/// `*` stands for any part of a name, `?` for one character, `[a-z]` and `[!a-z]` for one of several,
/// and `**` as a whole component for folders at any depth, without links to folders. In
/// components with wildcards, the case of ASCII letters does not matter and a name's leading dot is
/// matched by a dot alone.
pub(crate) fn matching_files(pattern: &Path) -> Result<Vec<PathBuf>> {
    let parts = parts(pattern).with_context(|| format!("{}: not a pattern", pattern.display()))?;
    let mut found = Vec::new();
    descend(Path::new(""), &parts, &mut found)?;
    found.sort();
    found.dedup();
    Ok(found)
}

/// Returns true if a path has characters with a meaning in patterns.
pub(crate) fn is_pattern(path: &Path) -> bool {
    has_wildcards(path.as_os_str())
}

fn has_wildcards(name: &OsStr) -> bool {
    name.as_encoded_bytes().iter().any(|byte| b"*?[".contains(byte))
}

/// A component of a pattern.
#[derive(Debug)]
enum Part {
    Literal(OsString),
    Name(Vec<Token>),
    /// `**`
    Folders,
}

#[derive(Debug)]
enum Token {
    One(Unit),
    Any,
    AnyRun,
    Of { ranges: Vec<(Unit, Unit)>, negated: bool },
}

/// A character in lower case, or a byte that is not part of one.
type Unit = u32;

fn parts(pattern: &Path) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for component in pattern.components() {
        let name = component.as_os_str();
        match component {
            Component::Normal(name) if name == "**" => {
                if !matches!(parts.last(), Some(Part::Folders)) {
                    parts.push(Part::Folders);
                }
            }
            Component::Normal(name) if has_wildcards(name) => {
                parts.push(Part::Name(tokens(&units(name))?));
            }
            _ => parts.push(Part::Literal(name.to_os_string())),
        }
    }
    Ok(parts)
}

fn units(name: &OsStr) -> Vec<Unit> {
    let mut units = Vec::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        units.extend(chunk.valid().chars().map(|letter| Unit::from(letter.to_ascii_lowercase())));
        let beyond = Unit::from(char::MAX) + 1;
        units.extend(chunk.invalid().iter().map(|byte| beyond + Unit::from(*byte)));
    }
    units
}

fn tokens(units: &[Unit]) -> Result<Vec<Token>> {
    let is = |at: usize, letter: char| units.get(at) == Some(&Unit::from(letter));
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < units.len() {
        if is(at, '*') && is(at + 1, '*') {
            bail!("** stands alone between slashes");
        }
        if is(at, '[') {
            let negated = is(at + 1, '!');
            let first = at + 1 + usize::from(negated);
            // A bracket that comes first is one of the characters.
            let Some(end) = (first + 1..units.len()).find(|&end| is(end, ']')) else {
                bail!("[ without ]");
            };
            tokens.push(Token::Of { ranges: ranges(&units[first..end]), negated });
            at = end + 1;
            continue;
        }
        tokens.push(if is(at, '*') {
            Token::AnyRun
        } else if is(at, '?') {
            Token::Any
        } else {
            Token::One(units[at])
        });
        at += 1;
    }
    Ok(tokens)
}

/// The ranges between brackets.
fn ranges(units: &[Unit]) -> Vec<(Unit, Unit)> {
    let mut ranges = Vec::new();
    let mut rest = units;
    while let [first, after @ ..] = rest {
        rest = after;
        let mut last = first;
        if let [dash, end, after @ ..] = rest
            && *dash == Unit::from('-')
        {
            (last, rest) = (end, after);
        }
        ranges.push((*first, *last));
    }
    ranges
}

impl Token {
    fn accepts(&self, unit: Unit) -> bool {
        match self {
            Self::One(one) => *one == unit,
            Self::Any => true,
            Self::AnyRun => false,
            Self::Of { ranges, negated } => {
                let within = ranges.iter().any(|&(first, last)| (first..=last).contains(&unit));
                within != *negated
            }
        }
    }
}

fn matches(tokens: &[Token], units: &[Unit]) -> bool {
    let (mut token, mut unit) = (0, 0);
    // The token after the last run, and the first unit that the run does not stand for.
    let mut run: Option<(usize, usize)> = None;
    while unit < units.len() {
        match tokens.get(token) {
            Some(Token::AnyRun) => {
                token += 1;
                run = Some((token, unit));
            }
            Some(one) if one.accepts(units[unit]) => {
                token += 1;
                unit += 1;
            }
            _ => {
                let Some((after, end)) = &mut run else { return false };
                *end += 1;
                (token, unit) = (*after, *end);
            }
        }
    }
    tokens[token..].iter().all(|token| matches!(token, Token::AnyRun))
}

/// Adds the files below a folder that match the parts.
fn descend(base: &Path, parts: &[Part], found: &mut Vec<PathBuf>) -> Result<()> {
    let Some((part, rest)) = parts.split_first() else {
        // Neither a folder nor a pipe, which would be waited for. Reading tells what a broken link is.
        if fs::metadata(base).map_or(true, |found| found.is_file()) {
            found.push(base.to_path_buf());
        }
        return Ok(());
    };
    match part {
        Part::Literal(name) => {
            let path = base.join(name);
            if fs::symlink_metadata(&path).is_ok() {
                descend(&path, rest, found)?;
            }
        }
        Part::Name(tokens) => {
            let takes_hidden = matches!(tokens.first(), Some(Token::One(dot)) if *dot == DOT);
            for entry in entries(base)? {
                let name = units(&entry.file_name());
                if matches(tokens, &name) && (takes_hidden || name.first() != Some(&DOT)) {
                    descend(&base.join(entry.file_name()), rest, found)?;
                }
            }
        }
        Part::Folders => {
            if !rest.is_empty() {
                descend(base, rest, found)?;
            }
            for entry in entries(base)? {
                let name = entry.file_name();
                if units(&name).first() == Some(&DOT) {
                    continue;
                }
                let path = base.join(&name);
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    descend(&path, parts, found)?;
                } else if rest.is_empty() {
                    descend(&path, rest, found)?;
                }
            }
        }
    }
    Ok(())
}

const DOT: Unit = b'.' as Unit;

/// The entries of a folder; none if the path is a file.
fn entries(base: &Path) -> Result<Vec<fs::DirEntry>> {
    let folder = if base.as_os_str().is_empty() { Path::new(".") } else { base };
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries: io::Result<_> = fs::read_dir(folder).and_then(Iterator::collect);
    entries.with_context(|| format!("{}: cannot read", folder.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn is_match(pattern: &str, name: &str) -> bool {
        matches(&tokens(&units(OsStr::new(pattern))).unwrap(), &units(OsStr::new(name)))
    }

    #[test]
    fn a_name_matches_by_its_wildcards() {
        for (pattern, matching, others) in [
            ("*.png", vec!["a.png", ".png", "A.PNG", "a.b.png"], vec!["a.jpg", "a.png.txt"]),
            ("?.png", vec!["a.png", "ä.png"], vec![".png", "ab.png"]),
            ("[0-9][!0-9]", vec!["1a", "9-"], vec!["a1", "12", "1"]),
            ("[]x]", vec!["]", "x"], vec!["y", ""]),
            ("[a-]", vec!["a", "-"], vec!["b"]),
            ("a*b*c", vec!["abc", "aXbYc", "abbc", "abcbc"], vec!["acb", "abcd"]),
        ] {
            for name in matching {
                assert!(is_match(pattern, name), "{pattern} is to match {name}");
            }
            for name in others {
                assert!(!is_match(pattern, name), "{pattern} is not to match {name}");
            }
        }
    }

    #[test]
    fn a_long_name_that_almost_matches_takes_no_time() {
        assert!(!is_match(&"a*".repeat(100), &format!("{}b", "b".repeat(10_000))));
        assert!(!is_match(&format!("{}b", "*a".repeat(50)), &"a".repeat(10_000)));
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_unicode_match_byte_by_byte() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        let name = OsStr::from_bytes(b"caf\xE9.png");
        if fs::write(folder.path().join(name), "").is_err() {
            return; // This file system takes Unicode alone.
        }
        let found = |pattern: &[u8]| {
            matching_files(&folder.path().join(OsStr::from_bytes(pattern))).unwrap()
        };
        for pattern in [&b"*.png"[..], b"caf?.png", b"caf\xE9*", b"**/*g", b"**"] {
            assert_eq!(found(pattern), [folder.path().join(name)], "{pattern:?}");
        }
        assert!(found(b"caf\xE8*").is_empty());
    }
}
