use std::time::Instant;

use anyhow::Result;
use clap::Args;
use perceiver_data::read_image;
use perceiver_pipelines::{Classification, Classify, Input, ScoreKind, ScoredLabel};
use serde_json::json;

use super::Context;
use crate::args::{HeadArguments, ModelArguments};
use crate::bundled::Bundled;
use crate::inputs::{InputArguments, each_answer, split};
use crate::output::{csv_field, one_line, table};
use crate::thumbnail::thumbnail;

const EXAMPLES: &str = "\
Examples:
  perceiver classify --model deepmind/vision-perceiver-conv photo.jpg
  perceiver classify --model ./vision-perceiver-fourier -k 3 --csv holiday 'more/**/*.jpg'
  perceiver classify --model ./vision-perceiver-conv --show photo.jpg
  perceiver classify --model sentiment --text \"What a lovely day.\"
  perceiver classify --model sentiment --json --batch 32 --text-file reviews.txt --window

An input that cannot be read does not stop the others: it gets a line on stderr, and the exit code
is 1.";

/// Classify photos or texts, with scores
///
/// The scores are probabilities of mutually exclusive labels, independent probabilities, or the
/// values of a regression, depending on the model's problem_type. Photos are read on other threads
/// while the model works.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ClassifyArguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    head: HeadArguments,
    #[command(flatten)]
    inputs: InputArguments,
    /// Number of labels to show
    #[arg(short = 'k', long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    top_k: usize,
    /// Print comma-separated values, one line per label
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Show each photo above its labels, on a terminal with 24-bit colours
    #[arg(long, conflicts_with_all = ["csv", "json", "text", "text_file"])]
    show: bool,
}

pub(crate) fn run(arguments: &ClassifyArguments, context: &Context) -> Result<()> {
    let inputs = arguments.inputs.read(context.output)?;
    let device = context.open_device()?;
    let folder = arguments
        .model
        .folder(Bundled::classifier(arguments.inputs.are_texts()), context.output)?;
    let start = Instant::now();
    let pipeline = match arguments.head.head {
        Some(head) => Classify::from_pretrained_as(folder, head, &device.device)?,
        None => Classify::from_pretrained(folder, &device.device)?,
    };
    context.output.warnings(pipeline.warnings());

    let (total, unit) = (inputs.len(), arguments.inputs.unit());
    let pipeline = pipeline
        .top_k(arguments.top_k)
        .batch(arguments.inputs.batch)
        .long_texts(arguments.inputs.long_texts.choice());
    let raw: Vec<_> = inputs.iter().map(|named| named.input.clone()).collect();
    let mut answers = pipeline.run_all(raw);
    let bar = context.output.progress("classify", unit);
    let mut is_first = true;
    let batch = each_answer(inputs, &mut answers, bar, |named, answer| {
        let shown = if arguments.csv {
            as_csv(&named.shown, &answer, is_first)
        } else {
            let photo = match &named.input {
                Input::ImageFile(path) if arguments.show => thumbnail(&read_image(path)?),
                _ => String::new(),
            };
            as_text(&named.shown, &photo, &answer)
        };
        is_first = false;
        context.output.result(as_json(&named.shown, &answer), &shown)?;
        Ok(())
    })?;
    if total > 1 {
        let split = split(answers.timings(), unit);
        context.output.note(&format!("{total} {unit}: {split}"));
    }
    context.note_device(&device, start);
    batch.finish()
}

/// Lines of comma-separated values, with a header if asked.
fn as_csv(name: &str, answer: &Classification, with_names: bool) -> String {
    let mut lines = String::new();
    if with_names {
        lines.push_str("input,rank,label,index,score\n");
    }
    for (ScoredLabel { index, name: label, score }, rank) in answer.labels.iter().zip(1..) {
        let (name, label) = (csv_field(name), csv_field(label));
        lines.push_str(&format!("{name},{rank},{label},{index},{score}\n"));
    }
    lines
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

fn as_text(name: &str, photo: &str, answer: &Classification) -> String {
    let score = |score: f64| match answer.kind {
        ScoreKind::Value => format!("{score:.6}"),
        _ => format!("{:.2} %", score * 100.0),
    };
    let rows = answer.labels.iter().map(|label| [score(label.score), one_line(&label.name)]);
    format!("{}\n{photo}{}", one_line(name), table(&rows.collect::<Vec<_>>()))
}
