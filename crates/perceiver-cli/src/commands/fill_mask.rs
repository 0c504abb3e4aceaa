use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use perceiver_pipelines::{FillMask, FilledText, Head, MaskedSpan, Progress};
use serde_json::json;

use super::Context;
use crate::args::{HeadArguments, ModelArguments};
use crate::batch::Batch;
use crate::bundled::Bundled;
use crate::files::{Line, lines, text_argument};
use crate::output::{one_line, table};

const EXAMPLES: &str = "\
Examples:
  perceiver fill-mask --model deepmind/language-perceiver \"Cats and [MASK][MASK][MASK][MASK].\"
  perceiver fill-mask --model ./language-perceiver --span 4 --rescore 20 \"Cats and [MASK].\"
  perceiver fill-mask --model ./language-perceiver --candidates dogs,mice \"Cats and [MASK].\"
  echo \"It is a[MASK][MASK][MASK][MASK]\" | perceiver fill-mask --model ./language-perceiver -
  perceiver fill-mask --model ./language-perceiver -k 10 --json --file texts.txt";

/// Fill in the masked bytes of a text
///
/// Each [MASK] stands for one byte: the model reads bytes, not words. A letter without accents is
/// one byte, and so is a space. Adjacent masks are filled in together. If the text is longer than the
/// model's input, the model reads a window around the masks.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct FillMaskArguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    head: HeadArguments,
    /// Text with one [MASK] per byte to fill in; - reads it from standard input
    #[arg(required_unless_present = "file")]
    text: Option<String>,
    /// File with one such text per line; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    file: Option<PathBuf>,
    /// Number of candidates to show per masked span
    #[arg(short = 'k', long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1000))]
    top_k: usize,
    /// Number of bytes that each [MASK] stands for
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    span: usize,
    /// Words to choose from, of any length, separated by commas
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', conflicts_with = "span")]
    candidates: Vec<String>,
    /// File with words to choose from, one per line
    #[arg(long, value_name = "FILE", conflicts_with = "span")]
    words: Option<PathBuf>,
    /// Rescore the best N candidates, each byte given the previous ones
    #[arg(long, value_name = "N", default_value_t = 0)]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(..=1000))]
    rescore: usize,
    /// Number of texts that go through the model at once
    #[arg(long, value_name = "N", default_value_t = 8)]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1024))]
    batch: usize,
}

pub(crate) fn run(arguments: &FillMaskArguments, context: &Context) -> Result<()> {
    let texts = arguments.texts()?;
    let words = arguments.words()?;
    let has_words = !words.is_empty();
    let device = context.open_device()?;
    arguments.head.only(Head::MaskedLm)?;
    let folder = arguments.model.folder(Bundled::Language, context.output)?;
    let start = Instant::now();
    let pipeline = FillMask::from_pretrained(folder, &device.device)?
        .top_k(arguments.top_k)
        .span(arguments.span)
        .words(words)
        .rescored(arguments.rescore)
        .batch(arguments.batch);
    context.output.warnings(pipeline.warnings());

    let mut batch = Batch::new(texts.len());
    let mut bar = context.output.progress("fill-mask", "texts");
    bar.at(Progress { done: 0, total: texts.len() });
    let total = texts.len();
    let mut readable = Vec::new();
    for (name, text) in texts {
        match text {
            Ok(text) => readable.push((name, text)),
            Err(error) => batch.run(&name, || Err(error))?,
        }
    }
    let unreadable = total - readable.len();
    let answers = pipeline.run_all(readable.iter().map(|(_, text)| text));
    for (done, ((name, text), answer)) in readable.iter().zip(answers).enumerate() {
        bar.at(Progress { done: unreadable + done + 1, total });
        batch.run(name, || {
            let filled = answer?;
            let shown = as_text(text, &filled, has_words);
            context.output.result(as_json(text, &filled), &shown)?;
            Ok(())
        })?;
    }
    drop(bar);
    context.note_device(&device, start);
    batch.finish()
}

impl FillMaskArguments {
    /// The texts, each with its name in errors.
    fn texts(&self) -> Result<Vec<Line>> {
        match (&self.file, &self.text) {
            (Some(file), _) => lines(file),
            (None, Some(text)) => Ok(vec![("the text".to_owned(), Ok(text_argument(text)?))]),
            (None, None) => Ok(Vec::new()),
        }
    }

    /// The words to choose from, if any.
    fn words(&self) -> Result<Vec<String>> {
        let mut words = self.candidates.clone();
        if let Some(file) = &self.words {
            for (_, word) in lines(file)? {
                words.push(word?);
            }
        }
        Ok(words)
    }
}

fn as_json(text: &str, filled: &FilledText) -> serde_json::Value {
    let spans: Vec<_> = filled
        .spans
        .iter()
        .map(|span| {
            let candidates = span.candidates.iter();
            let candidates: Vec<_> = candidates
                .map(|candidate| json!({ "text": candidate.text, "score": candidate.score }))
                .collect();
            json!({
                "start": span.range.start,
                "end": span.range.end,
                "bytes": span.bytes,
                "candidates": candidates,
            })
        })
        .collect();
    json!({ "text": text, "filled": filled.text, "spans": spans })
}

fn as_text(text: &str, filled: &FilledText, has_words: bool) -> String {
    let what = |span: &MaskedSpan| match span.bytes {
        _ if has_words => "a word".to_owned(),
        1 => "1 byte".to_owned(),
        bytes => format!("{bytes} bytes"),
    };
    let mut lines = format!("{}\n", one_line(&filled.text));
    for span in &filled.spans {
        let place = one_line(excerpt(text, span.range.start));
        lines.push_str(&format!("\n{} after \"{place}\"\n", what(span)));
        let rows: Vec<[String; 2]> = span
            .candidates
            .iter()
            .map(|candidate| {
                [probability(candidate.score), format!("\"{}\"", one_line(&candidate.text))]
            })
            .collect();
        lines.push_str(&table(&rows));
    }
    lines
}

/// In scientific notation if small, as for long texts.
fn probability(score: f64) -> String {
    if score < 1e-4 { format!("{score:.2e}") } else { format!("{score:.6}") }
}

/// The end of the text before a position.
fn excerpt(text: &str, end: usize) -> &str {
    const CHARACTERS: usize = 30;
    let before = &text[..end];
    let start = before.char_indices().rev().nth(CHARACTERS - 1).map_or(0, |(at, _)| at);
    &before[start..]
}
