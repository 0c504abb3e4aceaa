use std::ffi::{OsStr, OsString};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use clap::{Args, ValueEnum};
use perceiver_train::recipe::{Recipe, TrainOptions};
use perceiver_train::report::Record;
use perceiver_train::{Ending, StopHandle, TrainingEvent};
use serde_json::json;

use super::Context;
use crate::args::HubArguments;
use crate::batch::Unreadable;
use crate::destination::check_writable;
use crate::device;
use crate::interrupt::{self, Interrupted};
use crate::output::{Output, grouped, one_line, path_text};

const EXAMPLES: &str = "\
Examples:
  perceiver train recipes/fashion-mnist.toml --out ./fashion
  perceiver train recipes/fashion-mnist.toml --out ./fashion --resume
  perceiver train spam.toml --init deepmind/language-perceiver --freeze encoder --out ./spam
  perceiver train stars.toml --init sentiment --out ./stars

A recipe is a TOML file with a model, its data, optimiser, learning rate and number of steps. The
folder then holds the best model, which transformers and every command of this program load; the log
metrics.jsonl, with a line every few steps; the learning curve; and checkpoints to resume from.
Ctrl-C stops the run after its current step, with a checkpoint; a second Ctrl-C stops it at once. An
example that cannot be read is left out, with exit code 1 at the end of the run.";

/// Train a model by a recipe, or resume a run
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TrainArguments {
    /// Recipe, a TOML file
    #[arg(value_name = "RECIPE")]
    recipe: PathBuf,
    /// Folder for the model, the log and the checkpoints
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Folder where the recipe's relative paths begin
    #[arg(long, value_name = "DIR", default_value = ".")]
    data: PathBuf,
    /// Resume the run in the folder after its last checkpoint, by the same recipe: steps, intervals,
    /// workers and devices may change
    #[arg(long)]
    resume: bool,
    /// Model to start from: a folder, a hub id or the name of a bundled model; another head gives all
    /// weights that fit, and a decoder for another number of labels starts afresh
    #[arg(long, value_name = "DIR")]
    init: Option<OsString>,
    #[command(flatten)]
    hub: HubArguments,
    /// Part of the model to freeze, also after --resume
    #[arg(long, value_name = "PART")]
    freeze: Option<Frozen>,
    /// Devices that share the batches, such as cuda:0,cuda:1 (--device names a single one)
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    devices: Vec<String>,
    /// Print lines instead of a dashboard
    #[arg(long)]
    plain: bool,
}

/// Values of `--freeze`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Frozen {
    /// Preprocessor, latents and encoder
    Encoder,
}

pub(crate) fn run(arguments: &TrainArguments, context: &Context) -> Result<()> {
    let recipe = Recipe::from_file(&arguments.recipe)?;
    check_writable(&arguments.out)?;
    let since = Instant::now();
    let (devices, description) = match arguments.devices.as_slice() {
        [] => {
            let device = context.open_device()?;
            (vec![device.device], device.description)
        }
        names => {
            let opened = names.iter().map(|name| device::open(name)).collect::<Result<Vec<_>>>()?;
            let (devices, names): (Vec<_>, Vec<_>) =
                opened.into_iter().map(|device| (device.device, device.description)).unzip();
            (devices, names.join(" and "))
        }
    };
    let init = arguments.init.as_deref().map(|model| init(model, &arguments.hub)).transpose()?;
    let output = context.output;
    let lines = arguments.plain || output.json || output.quiet;
    let dashboard = !lines && std::io::stdout().is_terminal();
    let stop = StopHandle::default();
    let handle = stop.clone();
    interrupt::stop_first(move || handle.stop());
    interrupt::sweep_when_interrupted(&arguments.out);
    let folder = arguments.out.clone();
    let printer = ProgressPrinter {
        output: Output { quiet: output.quiet || dashboard, ..output },
        steps: recipe.settings.run.steps,
        since,
    };
    let options = TrainOptions::new(&folder)
        .data(&arguments.data)
        .devices(devices)
        .init(init)
        .freeze_encoder(arguments.freeze == Some(Frozen::Encoder))
        .resume(arguments.resume)
        .dashboard(dashboard)
        .machine(&description)
        .stop_handle(&stop);
    let finished = recipe.train(options, move |event| printer.print(&event))?;
    let skipped = &finished.skipped;
    output.warnings(&skipped.reasons);
    let place = path_text(&folder);
    let (step, complete) = match finished.ending {
        Ending::Complete => (recipe.settings.run.steps, true),
        Ending::Interrupted { step } => (step, false),
    };
    let best = finished.best.as_ref();
    let numbers = best.map_or_else(String::new, |best| format!(", best: {}", numbers(best)));
    let text = format!("{}: {} steps{numbers}", one_line(&place), grouped(step));
    let json = json!({
        "output": place,
        "steps": step,
        "complete": complete,
        "best": best,
        "skipped": skipped.count,
    });
    output.result(json, &text)?;
    output.note(&format!("{description}, {:.0} s", since.elapsed().as_secs_f64()));
    match skipped.count {
        0 if complete => return Ok(()),
        count if complete => return Err(Unreadable(count.to_string()).into()),
        _ => {}
    }
    let message = format!("{}: interrupted at step {step}; --resume continues", one_line(&place));
    Err(Interrupted(message).into())
}

/// The model to start from. A file of weights also does.
fn init(model: &OsStr, hub: &HubArguments) -> Result<PathBuf> {
    if Path::new(model).is_file() {
        return Ok(model.into());
    }
    hub.folder(model)
}

/// Prints the progress of a run that has no dashboard.
struct ProgressPrinter {
    output: Output,
    steps: usize,
    since: Instant,
}

impl ProgressPrinter {
    fn print(&self, event: &TrainingEvent<'_>) {
        match event {
            TrainingEvent::Parameters(count) => {
                self.output.note(&format!("{} parameters", grouped(*count)));
            }
            TrainingEvent::Fresh(keys) if !keys.is_empty() => {
                self.output.note(&format!("fresh: {}", keys.join(", ")));
            }
            TrainingEvent::Warning(warning) => self.output.warnings(&[(*warning).to_owned()]),
            TrainingEvent::Logged(record) => self.output.note(&self.line(record)),
            _ => {}
        }
    }

    fn line(&self, record: &Record) -> String {
        let Record { step, part, .. } = record;
        let seconds = self.since.elapsed().as_secs_f64();
        format!("step {step}/{}  {part}  {}  {seconds:.0} s", self.steps, numbers(record))
    }
}

fn numbers(record: &Record) -> String {
    let mut text = format!("loss {:.4}", record.loss);
    for (metric, value) in record.measures.iter() {
        let unit = &metric.unit;
        let gap = if unit.is_empty() || unit == "%" { "" } else { " " };
        text.push_str(&format!("  {} {value:.2}{gap}{unit}", metric.name));
    }
    text
}
