use std::time::Instant;

use anyhow::Result;
use clap::Args;
use perceiver_pipelines::{FillMask, FilledText};
use serde_json::json;

use super::Context;
use crate::args::ModelArguments;
use crate::files::text_argument;
use crate::output::table;

const EXAMPLES: &str = "\
Examples:
  perceiver fill-mask --model deepmind/language-perceiver \"Cats and [MASK][MASK][MASK][MASK].\"
  perceiver fill-mask --model ./language-perceiver -k 10 --json \"c[MASK]t and d[MASK]g\"
  echo \"It is a[MASK][MASK][MASK][MASK]\" | perceiver fill-mask --model ./language-perceiver -";

/// Complete the masked bytes of a text
///
/// Every [MASK] stands for one byte: the model reads bytes, not words, and for most languages'
/// letters that is one each. Spaces are bytes, too. Masks side by side are completed together.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct FillMaskArguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Text with [MASK] for every byte to complete; - reads it from standard input
    text: String,
    /// Completions to show for every masked span
    #[arg(short = 'k', long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1000))]
    top_k: usize,
}

pub(crate) fn run(arguments: &FillMaskArguments, context: &Context) -> Result<()> {
    let text = text_argument(&arguments.text)?;
    let device = context.open_device()?;
    let folder = arguments.model.folder()?;
    let start = Instant::now();
    let pipeline = FillMask::from_pretrained(folder, &device.device)?;
    let filled = pipeline.run(&text, arguments.top_k)?;
    context.output.warnings(pipeline.warnings());
    context.note_device(&device, start);
    context.output.result(as_json(&text, &filled), &as_text(&text, &filled))?;
    Ok(())
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

fn as_text(text: &str, filled: &FilledText) -> String {
    let mut lines = format!("{}\n", shown(&filled.text));
    for span in &filled.spans {
        let bytes = if span.bytes == 1 { "byte" } else { "bytes" };
        let place = shown(excerpt(text, span.range.start));
        lines.push_str(&format!("\n{} {bytes} after \"{place}\"\n", span.bytes));
        let rows: Vec<[String; 2]> = span
            .candidates
            .iter()
            .map(|candidate| {
                [format!("{:.6}", candidate.score), format!("\"{}\"", shown(&candidate.text))]
            })
            .collect();
        lines.push_str(&table(&rows));
    }
    lines
}

/// The end of the text before a place.
fn excerpt(text: &str, end: usize) -> &str {
    const CHARACTERS: usize = 30;
    let before = &text[..end];
    let start = before.char_indices().rev().nth(CHARACTERS - 1).map_or(0, |(at, _)| at);
    &before[start..]
}

/// Text without anything that would move a terminal's cursor.
fn shown(text: &str) -> String {
    crate::output::one_line(text)
}
