//! The photos or texts that a command works on.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use perceiver_pipelines::{Error, Input, Progress, Timings};

use crate::batch::Batch;
use crate::files::{lines, text_argument};
use crate::long_texts::{LongTextArguments, with_options};
use crate::pattern::{is_pattern, matching_files};
use crate::progress::Bar;

/// Extensions of the files that are read from a folder, in lower case.
const ENDINGS: [&str; 8] = ["png", "jpg", "jpeg", "webp", "tif", "tiff", "bmp", "gif"];

/// Photos or texts.
#[derive(Debug, Args)]
pub(crate) struct InputArguments {
    /// Photos (PNG, JPEG, WebP, TIFF, BMP, GIF), folders or patterns such as 'trip/**/*.jpg'
    ///
    /// Folders are searched recursively, without hidden files and without following links to folders.
    #[arg(value_name = "PHOTO", required_unless_present_any = ["text", "text_file"])]
    photos: Vec<PathBuf>,
    /// Text instead of photos; - reads it from standard input
    #[arg(long, conflicts_with_all = ["photos", "text_file"])]
    text: Option<String>,
    /// File with one text per line; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "photos")]
    text_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) long_texts: LongTextArguments,
    /// Number of inputs that go through the model at once
    #[arg(long, value_name = "N", default_value_t = 8)]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub(crate) batch: usize,
}

/// A named input.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    /// Its name in errors.
    pub(crate) name: String,
    /// Its name in results: its path or the text itself.
    pub(crate) shown: String,
    pub(crate) input: Input,
}

impl InputArguments {
    /// Returns true if the inputs are texts.
    pub(crate) const fn are_texts(&self) -> bool {
        self.text.is_some() || self.text_file.is_some()
    }

    /// The files and folders on the command line.
    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.photos
    }

    /// All inputs in order.
    pub(crate) fn read(&self) -> Result<Vec<Named>> {
        if let Some(text) = &self.text {
            let text = text_argument(text)?;
            let (name, input) = ("text".to_owned(), Input::Text(text.clone()));
            return Ok(vec![Named { name, shown: text, input }]);
        }
        if let Some(file) = &self.text_file {
            let lines = lines(file)?.into_iter();
            let named = lines.map(|(name, text)| {
                let input = Input::Text(text.clone());
                Named { name, shown: text, input }
            });
            return Ok(named.collect());
        }
        if let [only] = &self.photos[..]
            && !only.exists()
            && !is_pattern(only)
        {
            bail!("{}: does not exist, expected a photo, a folder or a pattern", only.display());
        }
        let mut photos = Vec::new();
        for path in &self.photos {
            expand(path, &mut photos)?;
        }
        let named = photos.into_iter().map(|path| {
            let name = path.display().to_string();
            Named { shown: name.clone(), name, input: Input::ImageFile(path) }
        });
        Ok(named.collect())
    }

    /// The plural noun for the inputs.
    pub(crate) fn unit(&self) -> &'static str {
        if self.photos.is_empty() { "texts" } else { "photos" }
    }
}

/// Adds the photos that an argument stands for.
fn expand(path: &Path, photos: &mut Vec<PathBuf>) -> Result<()> {
    let before = photos.len();
    if path.is_dir() {
        walk(path, photos)?;
        if photos.len() == before {
            bail!("{}: holds no photos, expected files *.{}", path.display(), ENDINGS.join(", *."));
        }
    } else if !path.exists() && is_pattern(path) {
        photos.extend(matching_files(path)?);
        if photos.len() == before {
            bail!("{}: matches no file", path.display());
        }
    } else {
        // Reading it may fail later, when its turn comes.
        photos.push(path.to_path_buf());
    }
    Ok(())
}

fn walk(folder: &Path, photos: &mut Vec<PathBuf>) -> Result<()> {
    let cannot_read = || format!("{}: cannot read", folder.display());
    let entries = fs::read_dir(folder).with_context(cannot_read)?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>().with_context(cannot_read)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type().with_context(cannot_read)?.is_dir() {
            walk(&path, photos)?;
        } else if path.is_file() && is_photo(&path) {
            photos.push(path);
        }
    }
    Ok(())
}

fn is_photo(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

/// Passes each input's answer to `take` and shows progress. A failure does not stop the following
/// inputs.
pub(crate) fn each_answer<T>(
    inputs: &[Named],
    answers: &mut impl Iterator<Item = Result<T, Error>>,
    mut bar: Bar,
    mut take: impl FnMut(&Named, T) -> Result<()>,
) -> Result<Batch> {
    let total = inputs.len();
    let mut batch = Batch::new(total);
    for (done, (named, answer)) in inputs.iter().zip(answers).enumerate() {
        bar.at(Progress { done, total });
        // All other inputs have the wrong kind too.
        if let Err(error @ Error::WrongInput { .. }) = answer {
            return Err(error.into());
        }
        batch.run(&named.name, || {
            let options = "--truncate reads its beginning, --window all of it in parts";
            take(named, answer.map_err(|error| with_options(error, options))?)
        })?;
    }
    Ok(batch)
}

/// Where the time was spent.
pub(crate) fn split(timings: Timings, unit: &str) -> String {
    let [model, waiting, decoding, preprocessing] =
        [timings.model, timings.waiting, timings.decoding, timings.preprocessing]
            .map(|time| time.as_secs_f64());
    format!(
        "model {model:.2} s, waited {waiting:.2} s for {unit} (decoding {decoding:.2} s, \
         preprocessing {preprocessing:.2} s on other threads)"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn expanded(folder: &Path, argument: &str) -> Result<Vec<String>> {
        let mut photos = Vec::new();
        expand(&folder.join(argument), &mut photos)?;
        let names = photos
            .iter()
            .map(|path| path.strip_prefix(folder).unwrap().to_string_lossy().replace('\\', "/"));
        Ok(names.collect())
    }

    #[test]
    fn folders_and_patterns_stand_for_their_photos() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::create_dir_all(folder.join("trip/day")).unwrap();
        fs::create_dir_all(folder.join(".cache")).unwrap();
        fs::create_dir_all(folder.join("empty")).unwrap();
        for name in [
            "b.png",
            "a.JPG",
            "notes.txt",
            ".c.png",
            "trip/d.gif",
            "trip/day/[e].tif",
            ".cache/f.png",
        ] {
            fs::write(folder.join(name), "").unwrap();
        }
        let all = ["a.JPG", "b.png", "trip/d.gif", "trip/day/[e].tif"];
        assert_eq!(expanded(folder, "").unwrap(), all);
        assert_eq!(expanded(folder, "*.png").unwrap(), ["b.png"]);
        assert_eq!(expanded(folder, "**/*.??f").unwrap(), ["trip/d.gif", "trip/day/[e].tif"]);
        // A file that exists is never read as a pattern.
        assert_eq!(expanded(folder, "trip/day/[e].tif").unwrap(), ["trip/day/[e].tif"]);
        assert_eq!(expanded(folder, "nowhere.png").unwrap(), ["nowhere.png"]);
        for (argument, words) in
            [("empty", "holds no photos"), ("*.bmp", "matches no file"), ("***", "not a pattern")]
        {
            let error = format!("{:#}", expanded(folder, argument).unwrap_err());
            assert!(error.contains(words), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_to_folders_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::write(folder.join("a.png"), "").unwrap();
        std::os::unix::fs::symlink(folder, folder.join("circle")).unwrap();
        std::os::unix::fs::symlink(folder.join("a.png"), folder.join("b.png")).unwrap();
        assert_eq!(expanded(folder, "").unwrap(), ["a.png", "b.png"]);
    }
}
