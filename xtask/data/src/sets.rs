//! Datasets made from packages: tables of texts with labels, plain texts, photos and pairs of frames.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{novels, photos, stereo};

/// One in five examples of each class is for tests.
const TEST_SHARE: usize = 5;

/// Characters kept of each letter.
const LETTER: usize = 2000;

/// A class's name and its texts.
type Class = (String, Vec<String>);

/// A dataset and its packages.
struct Set {
    /// Its folder.
    name: &'static str,
    /// Folders of the packages, with at most one `*` as a wildcard.
    packages: &'static [&'static str],
    write: fn(packages: &[PathBuf], folder: &Path) -> Result<()>,
}

const SETS: [Set; 8] = [
    Set {
        name: "languages",
        packages: &["crates/lingua-*-language-model"],
        write: |packages, folder| write_tables(languages(packages)?, folder),
    },
    Set {
        name: "spam",
        packages: &["npm/datasets-spam-assassin"],
        write: |packages, folder| write_tables(letters(&packages[0])?, folder),
    },
    Set {
        name: "sentiment",
        packages: &["npm/sentiment"],
        write: |packages, folder| write_tables(sentiments(&packages[0])?, folder),
    },
    Set {
        name: "novels",
        packages: &["deb/r-cran-janeaustenr"],
        write: |packages, folder| write_novels(&packages[0], folder),
    },
    Set {
        name: "moby-dick",
        packages: &["npm/datasets-moby-dick"],
        write: |packages, folder| {
            fs::copy(packages[0].join("data/data.txt"), folder.join("moby-dick.txt"))?;
            Ok(())
        },
    },
    Set {
        name: "speeches",
        packages: &["npm/datasets-sotu"],
        write: |packages, folder| write_speeches(&packages[0], folder),
    },
    Set {
        name: "photos",
        packages: &["deb/opencv-doc", "deb/python3-skimage", "deb/libjxl-testdata"],
        write: photos::gather,
    },
    Set {
        name: "flow",
        packages: &["deb/opencv-doc", "deb/python3-skimage"],
        write: stereo::write_pairs,
    },
];

/// Writes the sets that are missing and whose packages are there. Returns the existing ones.
pub(super) fn write(data: &Path) -> Result<Vec<PathBuf>> {
    let mut there = Vec::new();
    for set in &SETS {
        let place = data.join("sets").join(set.name);
        if !place.exists() {
            let packages = set.packages(data);
            if packages.is_empty() || packages.iter().any(|package| !package.exists()) {
                continue;
            }
            let unfinished = place.with_extension("unfinished");
            if unfinished.exists() {
                fs::remove_dir_all(&unfinished)?;
            }
            fs::create_dir_all(&unfinished)?;
            (set.write)(&packages, &unfinished).with_context(|| format!("no set {}", set.name))?;
            fs::rename(&unfinished, &place)?;
        }
        there.push(place);
    }
    Ok(there)
}

impl Set {
    /// In the order of the packages' table.
    fn packages(&self, data: &Path) -> Vec<PathBuf> {
        let folders = super::PACKAGES.iter().map(|package| package.folder(Path::new("")));
        let is_ours = |folder: &PathBuf| {
            let name = folder.to_string_lossy();
            self.packages.iter().any(|wanted| {
                let (start, end) = wanted.split_once('*').unwrap_or((wanted, ""));
                name.starts_with(start) && name.ends_with(end)
            })
        };
        folders.filter(is_ours).map(|folder| data.join(folder)).collect()
    }
}

fn languages(packages: &[PathBuf]) -> Result<Vec<Class>> {
    let language = |package: &PathBuf| {
        let name = package.file_name().unwrap_or_default().to_string_lossy();
        let name = name.split('-').nth(1).context("expected lingua-LANGUAGE-…")?;
        let sentences = read(&package.join("testdata/sentences.txt"))?;
        Ok((name.to_owned(), sentences.lines().map(|line| line.trim().to_owned()).collect()))
    };
    packages.iter().map(language).collect()
}

fn letters(package: &Path) -> Result<Vec<Class>> {
    let kinds =
        [("ham", &["easy-ham-1", "easy-ham-2", "hard-ham-1"][..]), ("spam", &["spam-1", "spam-2"])];
    let class = |(name, folders): (&str, &[&str])| {
        let mut texts = Vec::new();
        for folder in folders {
            for file in self::texts(&package.join("data").join(folder))? {
                texts.push(body(&fs::read(&file)?));
            }
        }
        Ok((name.to_owned(), texts))
    };
    kinds.into_iter().map(class).collect()
}

/// The text below the headers, which describe the collection rather than spam. Letters that are not
/// UTF-8 are read as Latin-1.
fn body(letter: &[u8]) -> String {
    let text = String::from_utf8(letter.to_vec())
        .unwrap_or_else(|_| letter.iter().copied().map(char::from).collect());
    let text = text.replace("\r\n", "\n");
    let body = text.split_once("\n\n").map_or("", |(_, body)| body);
    body.trim().chars().take(LETTER).collect()
}

fn sentiments(package: &Path) -> Result<Vec<Class>> {
    let mut classes = ["negative", "positive"].map(|name| (name.to_owned(), Vec::new()));
    for name in ["amazon", "imdb", "yelp"] {
        let rows: Value =
            serde_json::from_str(&read(&package.join(format!("test/fixtures/{name}.json")))?)?;
        for row in rows.as_array().context("expected a list")? {
            // One row of each file is not rated.
            if let (Some(text), Some(class @ (0 | 1))) =
                (row["text"].as_str(), row["class"].as_u64())
            {
                classes[class as usize].1.push(text.trim().to_owned());
            }
        }
    }
    Ok(classes.into())
}

/// Writes `train.csv` and `test.csv`. Equal texts are kept once, so that none is in both.
fn write_tables(classes: Vec<Class>, folder: &Path) -> Result<()> {
    let mut train = csv::Writer::from_path(folder.join("train.csv"))?;
    let mut test = csv::Writer::from_path(folder.join("test.csv"))?;
    for table in [&mut train, &mut test] {
        table.write_record(["label", "text"])?;
    }
    let mut seen = HashSet::new();
    for (name, mut texts) in classes {
        texts.retain(|text| !text.is_empty() && seen.insert(text.clone()));
        ensure!(texts.len() >= TEST_SHARE, "{} texts of class {name}", texts.len());
        for (index, text) in texts.iter().enumerate() {
            let table = if index.is_multiple_of(TEST_SHARE) { &mut test } else { &mut train };
            table.write_record([&name, text])?;
        }
    }
    train.flush()?;
    test.flush()?;
    Ok(())
}

/// A file for each novel, such as `pride-and-prejudice.txt`.
fn write_novels(package: &Path, folder: &Path) -> Result<()> {
    for novel in novels::read(package)? {
        let title = novel.lines().next().unwrap_or_default().trim().to_lowercase();
        let name = title.replace(|letter: char| !letter.is_alphanumeric(), "-");
        fs::write(folder.join(format!("{name}.txt")), &novel)?;
    }
    Ok(())
}

/// Joins a package's speeches, whose names begin with the year, into one text.
fn write_speeches(package: &Path, folder: &Path) -> Result<()> {
    let texts: Vec<String> =
        texts(&package.join("data"))?.iter().map(|file| read(file)).collect::<Result<_>>()?;
    fs::write(folder.join("speeches.txt"), texts.join("\n\n"))?;
    Ok(())
}

fn texts(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = super::files(folder)?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_letter_loses_its_headers_and_its_end() {
        let letter = format!("From: a\r\nTo: b\r\n\r\n Dear b,\r\n\r\n{}", "x".repeat(3000));
        let body = body(letter.as_bytes());
        assert!(body.starts_with("Dear b,\n\nxxx"));
        assert_eq!(body.len(), LETTER);
    }

    #[test]
    fn a_letter_that_is_not_utf_8_is_latin_1() {
        assert_eq!(body(b"From: a\n\ntouch\xe9"), "touch\u{e9}");
    }

    #[test]
    fn every_set_is_made_of_packages_that_are_fetched() {
        let counts = SETS.each_ref().map(|set| set.packages(Path::new("data")).len());
        assert_eq!(counts, [12, 1, 1, 1, 1, 1, 3, 2]);
    }

    #[test]
    fn equal_texts_are_kept_once_and_every_fifth_of_a_class_is_for_tests() {
        let folder = std::env::temp_dir().join(format!("sets-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let texts = |names: &str| names.split(' ').map(str::to_owned).collect();
        let classes =
            vec![("low".into(), texts("a b a c d e f")), ("high".into(), texts("f g h i j k,l"))];
        write_tables(classes, &folder).unwrap();
        let table = |name| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(table("test.csv"), "label,text\nlow,a\nlow,f\nhigh,g\n");
        let expected = "label,text\nlow,b\nlow,c\nlow,d\nlow,e\n\
                        high,h\nhigh,i\nhigh,j\nhigh,\"k,l\"\n";
        assert_eq!(table("train.csv"), expected);
        fs::remove_dir_all(folder).unwrap();
    }
}
