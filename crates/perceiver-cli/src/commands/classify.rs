use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use perceiver_pipelines::{Classification, Classify, ClassifyInput, ScoreKind};
use serde_json::json;

use super::Context;
use crate::args::ModelArguments;
use crate::files::text_argument;
use crate::output::{one_line, table};

const EXAMPLES: &str = "\
Examples:
  perceiver classify --model deepmind/vision-perceiver-conv photo.jpg
  perceiver classify --model ./vision-perceiver-fourier -k 3 --json *.jpg
  perceiver classify --model ./sentiment --text \"What a lovely day.\"";

/// Name what images or a text are, with scores
///
/// Probabilities of labels that exclude each other, of each label on its own, or the numbers of a
/// regression, as the model's problem_type says.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ClassifyArguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Images to classify: PNG, JPEG, WebP, TIFF, BMP or GIF
    #[arg(value_name = "PHOTO", required_unless_present = "text")]
    photos: Vec<PathBuf>,
    /// Text to classify; - reads it from standard input
    #[arg(long, conflicts_with = "photos")]
    text: Option<String>,
    /// Labels to show
    #[arg(short = 'k', long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    top_k: usize,
}

pub(crate) fn run(arguments: &ClassifyArguments, context: &Context) -> Result<()> {
    let text = arguments.text.as_deref().map(text_argument).transpose()?;
    for photo in &arguments.photos {
        if !photo.is_file() {
            bail!("{}: does not exist, expected an image file", photo.display());
        }
    }
    let device = context.open_device()?;
    let folder = arguments.model.folder()?;
    let start = Instant::now();
    let pipeline = Classify::from_pretrained(folder, &device.device)?;
    context.output.warnings(pipeline.warnings());

    let text = text.as_deref().map(|text| (text.to_owned(), ClassifyInput::Text(text)));
    let photos = arguments
        .photos
        .iter()
        .map(|photo| (photo.display().to_string(), ClassifyInput::ImageFile(photo)));
    for (name, input) in text.into_iter().chain(photos) {
        let answer = pipeline.run(input, arguments.top_k)?;
        context.output.result(as_json(&name, &answer), &as_text(&name, &answer))?;
    }
    context.note_device(&device, start);
    Ok(())
}

fn as_json(name: &str, answer: &Classification) -> serde_json::Value {
    let kind = match answer.kind {
        ScoreKind::Softmax => "softmax",
        ScoreKind::Sigmoid => "sigmoid",
        ScoreKind::Value => "value",
    };
    let labels: Vec<_> = answer
        .labels
        .iter()
        .map(|label| json!({ "label": label.name, "index": label.index, "score": label.score }))
        .collect();
    json!({ "input": name, "scores": kind, "labels": labels })
}

fn as_text(name: &str, answer: &Classification) -> String {
    let score = |score: f64| match answer.kind {
        ScoreKind::Value => format!("{score:.6}"),
        _ => format!("{:.2} %", score * 100.0),
    };
    let rows = answer.labels.iter().map(|label| [score(label.score), one_line(&label.name)]);
    format!("{}\n{}", one_line(name), table(&rows.collect::<Vec<_>>()))
}
