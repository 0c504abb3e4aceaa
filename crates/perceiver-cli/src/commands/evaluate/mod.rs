use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use perceiver_data::Source;
use perceiver_data::flow::FlowPair;
use perceiver_pipelines::{OpticalFlow, Progress};
use perceiver_train::recipe::Recipe;
use perceiver_train::report::Confusion;
use perceiver_train::{Baseline, Error, Evaluation, EvaluationData, Evaluator, Examples, Metric};
use serde_json::{Map, Value, json};

use super::Context;
use crate::args::{HeadArguments, HubArguments};
use crate::atomic_output::write_whole;
use crate::batch::Unreadable;
use crate::destination::check_file;
use crate::device::OpenDevice;
use crate::output::{grouped, one_line, path_text, table};
use crate::paths::expand_patterns;

mod flow;

/// Threads that prepare examples while the model runs.
const WORKERS: usize = 2;

const EXAMPLES: &str = "\
Examples:
  perceiver evaluate ./fashion t10k-images-idx3-ubyte.gz t10k-labels-idx1-ubyte.gz
  perceiver evaluate ./fashion photos/ --confusion confusion.svg
  perceiver evaluate ./spam test.csv --json
  perceiver evaluate ./language-perceiver book.txt
  perceiver evaluate ./optical-flow pairs/
  perceiver evaluate ./optical-flow recipes/flow.toml --data target/data

An example that cannot be read is skipped, with a warning on stderr and exit code 1.";

/// Evaluate a model on labelled data: accuracy, F1, bits per byte, end-point error, PSNR
///
/// Classifiers also report top-5 accuracy, F1 and confusions; masked language models report perplexity;
/// optical flow is compared with zero flow and with one shift of the whole frame.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EvaluateArguments {
    /// Model: a folder or a hub id
    #[arg(value_name = "DIR")]
    model: OsString,
    /// Data that the model's head takes, or a recipe
    ///
    /// Image classifiers: a folder with a folder of photos per class, or two IDX files, of images and
    /// of labels. Text classifiers: *.csv, *.tsv, *.jsonl or *.json, also gzipped, with the columns text
    /// and label. Classes have the model's names or, if none has one, its indexes. Masked language
    /// models: text files or folders of them. Optical flow: a folder with NAME.flo, NAME_1.png and
    /// NAME_2.png, or KITTI's. Autoencoders: videos or folders of them. Any model: a recipe, *.toml, for
    /// its validation data.
    #[arg(value_name = "DATA", required = true)]
    data: Vec<PathBuf>,
    /// Write the confusion matrix as a picture, *.svg
    #[arg(long, value_name = "FILE")]
    confusion: Option<PathBuf>,
    /// Replace an existing picture of the confusion matrix
    #[arg(long, requires = "confusion")]
    force: bool,
    /// Examples that go through the model at once
    #[arg(long, value_name = "N", default_value_t = 16)]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1024))]
    batch: usize,
    /// Folder where a recipe's relative paths begin
    #[arg(long = "data", value_name = "DIR", default_value = ".")]
    root: PathBuf,
    #[command(flatten)]
    hub: HubArguments,
    #[command(flatten)]
    head: HeadArguments,
}

pub(crate) fn run(arguments: &EvaluateArguments, context: &Context) -> Result<()> {
    if let Some(path) = &arguments.confusion {
        check_file(path, arguments.force)?;
        if !path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("svg")) {
            bail!("{}: unknown ending, expected .svg", path.display());
        }
    }
    let folder = arguments.hub.folder(&arguments.model)?;
    let evaluator = match arguments.head.head {
        Some(head) => Evaluator::open_as(folder, head)?,
        None => Evaluator::open(folder)?,
    };
    let evaluator = evaluator.batch_size(arguments.batch).workers(WORKERS);
    if let Some(path) = &arguments.confusion
        && !evaluator.head().is_classifier()
    {
        bail!("{}: a {} has no classes to confuse", path.display(), evaluator.head());
    }
    let data = match arguments.data.as_slice() {
        [path] if path.extension().is_some_and(|ending| ending == "toml") => {
            evaluator.open_recipe(&Recipe::from_file(path)?, &arguments.root)?
        }
        paths => evaluator.open_files(&expand_patterns(paths)?)?,
    };
    let device = context.open_device()?;
    let start = Instant::now();
    let (read, skipped) = match data {
        EvaluationData::Examples(examples) => {
            let evaluation = evaluate(&evaluator, examples, &device, context)?;
            print(arguments, &evaluation, &evaluator, context)?;
            (evaluation.examples, evaluation.skipped.count)
        }
        EvaluationData::FlowPairs(pairs) => evaluate_flow(&evaluator, &*pairs, &device, context)?,
    };
    context.note_device(&device, start);
    match skipped {
        0 => Ok(()),
        count => Err(Unreadable(format!("{count} of {}", read + count)).into()),
    }
}

fn evaluate(
    evaluator: &Evaluator,
    examples: Examples,
    device: &OpenDevice,
    context: &Context,
) -> Result<Evaluation> {
    let total = examples.len();
    let mut bar = context.output.progress("evaluate", "examples");
    let on_progress = &mut |done| bar.at(Progress { done, total });
    let evaluation = evaluator.evaluate(examples, &device.device, on_progress)?;
    drop(bar);
    context.output.warnings(&evaluation.warnings);
    context.output.warnings(&evaluation.skipped.reasons);
    Ok(evaluation)
}

/// Returns the numbers of pairs that were measured, and of those that could not be.
fn evaluate_flow(
    evaluator: &Evaluator,
    pairs: &dyn Source<Example = FlowPair>,
    device: &OpenDevice,
    context: &Context,
) -> Result<(usize, usize)> {
    let pipeline = OpticalFlow::from_pretrained(evaluator.folder(), &device.device)?.pad(true);
    context.output.warnings(pipeline.warnings());
    context.output.warnings(&pairs.remarks().notes);
    let mut bar = context.output.progress("evaluate", "pairs");
    let (evaluation, skipped) = flow::measure(&pipeline, pairs, &mut bar);
    drop(bar);
    let no_result = |reason| Error::NoResult { path: evaluator.folder().to_path_buf(), reason };
    if let (true, [first, others @ ..]) = (evaluation.pairs.is_empty(), skipped.as_slice()) {
        context.output.warnings(others);
        return Err(no_result(format!("no pair could be measured: {first}")).into());
    }
    context.output.warnings(&skipped);
    evaluation.check().map_err(|error| no_result(error.to_string()))?;
    let json = flow::as_json(&evaluation, skipped.len());
    context.output.result(json, &flow::as_text(&evaluation))?;
    Ok((evaluation.pairs.len(), skipped.len()))
}

fn print(
    arguments: &EvaluateArguments,
    evaluation: &Evaluation,
    evaluator: &Evaluator,
    context: &Context,
) -> Result<()> {
    let Evaluation { loss, measures, confusion, baselines, examples, skipped, .. } = evaluation;
    let mut rows = Vec::new();
    let mut json = Map::new();
    json.insert("examples".to_owned(), json!(examples));
    json.insert("skipped".to_owned(), json!(skipped.count));
    json.insert("loss".to_owned(), json!(loss));
    json.insert("measures".to_owned(), json!(measures));
    for (metric, value) in measures.iter() {
        let text = format!("{value:.3} {}", metric.unit);
        rows.push([metric.name.to_string(), text.trim_end().to_owned()]);
    }
    if !baselines.is_empty() {
        let values = baselines.iter().map(|found| (found.metric.name.to_string(), found.value));
        let values: Map<_, _> = values.map(|(name, value)| (name, json!(value))).collect();
        json.insert("mean_frame_and_silence".to_owned(), Value::Object(values));
    }
    for Baseline { method, metric, value } in baselines {
        let name = format!("{} of {method}", metric.name);
        rows.push([name, format!("{value:.3} {}", metric.unit)]);
    }
    if let Some(bits) = measures.get(&Metric::BITS_PER_BYTE) {
        let perplexity = bits.exp2();
        json.insert("perplexity".to_owned(), json!(perplexity));
        rows.push(["perplexity of a byte".to_owned(), format!("{perplexity:.3}")]);
    }
    rows.push(["loss".to_owned(), format!("{loss:.4}")]);
    let mut text = String::new();
    if let Some(confusion) = confusion {
        rows.push(["macro F1".to_owned(), format!("{:.4}", confusion.macro_f1())]);
        let name = |class: usize| evaluator.class_name(class);
        json.insert("macro_f1".to_owned(), json!(confusion.macro_f1()));
        json.insert("classes".to_owned(), classes(confusion, &name));
        text = f1_table(confusion, &name);
        if let Some(path) = &arguments.confusion {
            json.insert("confusion".to_owned(), json!(path_text(path)));
        }
    }
    let text = format!("{} examples\n{}{text}", grouped(*examples), table(&rows));
    // First, so that a full disk costs the picture alone.
    context.output.result(Value::Object(json), &text)?;
    let Some(path) = &arguments.confusion else { return Ok(()) };
    let Some(confusion) = confusion else {
        bail!("{}: nothing to write, since the model chooses no class", path.display());
    };
    let picture = confusion.picture(|class| evaluator.class_name(class));
    write_whole(path, picture.as_bytes())
}

/// Every class with its F1 and the number of each answer.
fn classes(confusion: &Confusion, name: &impl Fn(usize) -> String) -> Value {
    let f1 = confusion.f1();
    let entries = f1.iter().map(|(&class, value)| {
        let answers = f1.keys().map(|&answer| (name(answer), confusion.count(class, answer)));
        let answers = answers.filter(|(_, count)| *count > 0);
        let answers: Map<_, _> = answers.map(|(name, count)| (name, json!(count))).collect();
        json!({ "label": name(class), "index": class, "f1": value, "answers": answers })
    });
    entries.collect()
}

fn f1_table(confusion: &Confusion, name: &impl Fn(usize) -> String) -> String {
    let rows: Vec<_> = confusion
        .f1()
        .into_iter()
        .map(|(class, f1)| [one_line(&name(class)), format!("F1 {f1:.4}")])
        .collect();
    format!("classes\n{}", table(&rows))
}
