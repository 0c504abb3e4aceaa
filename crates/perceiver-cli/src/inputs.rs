//! The photos or texts that a command works on.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use perceiver_data::FileKind;
use perceiver_pipelines::{Error, Input, Progress, Timings};

use crate::batch::Batch;
use crate::files::{lines_if_any, text_argument, without_text};
use crate::long_texts::{LongTextArguments, with_options};
use crate::output::{Output, path_text};
use crate::paths::files;
use crate::pattern::is_pattern;
use crate::progress::Bar;

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
    /// File with one text per line, a folder or a pattern of such files; - reads standard input
    ///
    /// Blank lines are left out; tables are not read by their columns. Files are UTF-8 or UTF-16, plain or gzipped; those of a folder end in
    /// .txt or .txt.gz.
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

/// All inputs of a command.
#[derive(Debug)]
pub(crate) struct Inputs {
    named: Vec<Named>,
    /// Names of files of texts that cannot be read, with their errors.
    unreadable: Vec<(String, anyhow::Error)>,
}

impl Deref for Inputs {
    type Target = [Named];

    fn deref(&self) -> &[Named] {
        &self.named
    }
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

    /// All inputs in order. Notes say which files of folders were passed over.
    pub(crate) fn read(&self, output: Output) -> Result<Inputs> {
        if let Some(path) = &self.text_file {
            return read_texts(path, output);
        }
        let named = match &self.text {
            Some(text) => {
                let text = text_argument(text)?;
                let (name, input) = ("text".to_owned(), Input::Text(text.clone()));
                vec![Named { name, shown: text, input }]
            }
            None => self.read_photos(output)?,
        };
        Ok(Inputs { named, unreadable: Vec::new() })
    }

    fn read_photos(&self, output: Output) -> Result<Vec<Named>> {
        if let [only] = &self.photos[..]
            && !only.exists()
            && !is_pattern(only)
        {
            bail!("{}: does not exist, expected a photo, a folder or a pattern", only.display());
        }
        let mut photos = Vec::new();
        for path in &self.photos {
            photos.extend(files(path, FileKind::Image, output)?);
        }
        let named = photos.into_iter().map(|path| {
            let (name, shown) = (path.display().to_string(), path_text(&path));
            Named { shown, name, input: Input::ImageFile(path) }
        });
        Ok(named.collect())
    }

    /// The plural noun for the inputs.
    pub(crate) fn unit(&self) -> &'static str {
        if self.photos.is_empty() { "texts" } else { "photos" }
    }
}

/// The lines of a file, or of all files of a folder or pattern, of which some may be unreadable.
fn read_texts(path: &Path, output: Output) -> Result<Inputs> {
    let mut inputs = Inputs { named: Vec::new(), unreadable: Vec::new() };
    for file in files(path, FileKind::Text, output)? {
        if is_table(&file) {
            let file = file.display();
            output.warnings(&[format!("{file}: a table is read as texts, one per line")]);
        }
        match lines_if_any(&file) {
            Ok(lines) => {
                for (name, text) in lines {
                    match text {
                        Ok(text) => {
                            let input = Input::Text(text.clone());
                            inputs.named.push(Named { name, shown: text, input });
                        }
                        Err(error) => inputs.unreadable.push((name, error)),
                    }
                }
            }
            Err(error) => inputs.unreadable.push((file.display().to_string(), error)),
        }
    }
    match (inputs.named.is_empty(), inputs.unreadable.pop()) {
        (true, Some((_, error))) => Err(error),
        (true, None) => Err(without_text(path)),
        (false, last) => {
            inputs.unreadable.extend(last);
            Ok(inputs)
        }
    }
}

/// If true, a file's name says that it holds records, as `evaluate` reads them.
fn is_table(path: &Path) -> bool {
    let name = path.as_os_str().to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    [".csv", ".tsv", ".json", ".jsonl", ".ndjson"].iter().any(|ending| name.ends_with(ending))
}

/// Passes each input's answer to `take` and shows progress. A failure does not stop the following
/// inputs.
pub(crate) fn each_answer<T>(
    inputs: Inputs,
    answers: &mut impl Iterator<Item = Result<T, Error>>,
    mut bar: Bar,
    mut take: impl FnMut(&Named, T) -> Result<()>,
) -> Result<Batch> {
    let total = inputs.len();
    let mut batch = Batch::new(total + inputs.unreadable.len());
    for (name, error) in inputs.unreadable {
        batch.run(&name, || Err(error))?;
    }
    for (done, (named, answer)) in inputs.named.iter().zip(answers).enumerate() {
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
