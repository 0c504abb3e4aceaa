use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::{Args, ValueEnum};
use perceiver_train::recipe::{Progress, Recipe, Start, StopHandle, start};
use perceiver_train::report::{CURVE_NAME, LOG_NAME, Log, Part, Record, learning_curve};
use perceiver_train::run::Ending;
use serde_json::json;

use super::Context;
use crate::device;
use crate::files::write_whole;
use crate::interrupt::{self, Interrupted};
use crate::output::{Output, grouped, one_line};

const EXAMPLES: &str = "\
Examples:
  perceiver train recipes/fashion-mnist.toml --out ./fashion
  perceiver train recipes/fashion-mnist.toml --out ./fashion --resume
  perceiver train spam.toml --data ~/data --init ./language-model --freeze encoder --out ./spam

A recipe is a TOML file: model, data, optimiser, learning rate, steps. The folder then holds the
best model as transformers and every command of this program load it, metrics.jsonl with a line
every few steps, the learning curve as a picture, and checkpoints to resume from.
Ctrl-C ends the run after its step, with a checkpoint; a second one ends it at once.";

/// Train a model by a recipe, or go on with an earlier run
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TrainArguments {
    /// Recipe, a TOML file
    #[arg(value_name = "RECIPE")]
    recipe: PathBuf,
    /// Folder for the model, the log and the checkpoints
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Folder in which the recipe's relative paths begin
    #[arg(long, value_name = "DIR", default_value = ".")]
    data: PathBuf,
    /// Go on from the last checkpoint in the folder
    #[arg(long)]
    resume: bool,
    /// Model folder to begin from; of one with another head, all that fits
    #[arg(long, value_name = "DIR")]
    init: Option<PathBuf>,
    /// Part of the model that stays as it is, in a run that is resumed as well
    #[arg(long, value_name = "PART")]
    freeze: Option<Frozen>,
    /// Devices that share the batches, such as cuda:0,cuda:1; --device names a single one
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    devices: Vec<String>,
    /// Print lines, even on a terminal
    #[arg(long)]
    plain: bool,
}

/// What `--freeze` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Frozen {
    /// Preprocessor, latents and encoder
    Encoder,
}

/// Name of the page about a model.
const CARD_NAME: &str = "README.md";

pub(crate) fn run(arguments: &TrainArguments, context: &Context) -> Result<()> {
    let recipe = Recipe::from_file(&arguments.recipe)?;
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
    let output = context.output;
    let lines = arguments.plain || output.json || output.quiet;
    let dashboard = !lines && std::io::stdout().is_terminal();
    let stop = StopHandle::default();
    let handle = stop.clone();
    interrupt::stop_first(move || handle.stop());
    interrupt::sweep_when_interrupted(&arguments.out);
    let folder = arguments.out.clone();
    let told = Told {
        output: Output { quiet: output.quiet || dashboard, ..output },
        steps: recipe.settings.run.steps,
        since,
    };
    let finished = start(
        &recipe,
        Start {
            folder: folder.clone(),
            data: arguments.data.clone(),
            devices,
            init: arguments.init.clone(),
            freeze_encoder: arguments.freeze == Some(Frozen::Encoder),
            resume: arguments.resume,
            dashboard,
            interrupter: stop,
        },
        move |progress| told.tell(&progress),
    )?;
    let log = Log::read(folder.join(LOG_NAME))?;
    if !log.train.is_empty() {
        write_whole(&folder.join(CURVE_NAME), learning_curve(&log).as_bytes())?;
    }
    let best = best(&log);
    if let Some(card) = best.and_then(|best| recipe.card(best, finished.parameters, &description)) {
        write_whole(&folder.join(CARD_NAME), card.markdown().as_bytes())?;
    }
    let skipped = &finished.skipped;
    if skipped.count > 0 {
        let mut lines = vec![format!("{} examples could not be read", skipped.count)];
        lines.extend(skipped.reasons.iter().cloned());
        output.warnings(&lines);
    }
    let place = folder.display().to_string();
    let (step, complete) = match finished.ending {
        Ending::Complete => (recipe.settings.run.steps, true),
        Ending::Interrupted { step } => (step, false),
    };
    let told = best.map_or_else(String::new, |best| format!(", best: {}", numbers(best)));
    let text = format!("{}: {} steps{told}", one_line(&place), grouped(step));
    let json = json!({
        "output": place,
        "steps": step,
        "complete": complete,
        "best": best,
        "skipped": skipped.count,
    });
    output.result(json, &text)?;
    output.note(&format!("{description}, {:.0} s", since.elapsed().as_secs_f64()));
    if complete {
        return Ok(());
    }
    let message = format!("{}: interrupted at step {step}; --resume goes on", one_line(&place));
    Err(Interrupted(message).into())
}

/// The validation of the model in the folder.
fn best(log: &Log) -> Option<&Record> {
    log.validation.iter().min_by(|first, second| first.loss.total_cmp(&second.loss))
}

/// What people see of a run that has no dashboard.
struct Told {
    output: Output,
    steps: usize,
    since: Instant,
}

impl Told {
    fn tell(&self, progress: &Progress<'_>) {
        match progress {
            Progress::Parameters(count) => {
                self.output.note(&format!("{} parameters", grouped(*count)));
            }
            Progress::Fresh(keys) if !keys.is_empty() => {
                self.output.note(&format!("fresh: {}", keys.join(", ")));
            }
            Progress::Logged(record) => self.output.note(&self.line(record)),
            Progress::Fresh(_) | Progress::Saved => {}
        }
    }

    fn line(&self, record: &Record) -> String {
        let part = match record.part {
            Part::Train => "train",
            Part::Validation => "validation",
        };
        let seconds = self.since.elapsed().as_secs_f64();
        format!("step {}/{}  {part}  {}  {seconds:.0} s", record.step, self.steps, numbers(record))
    }
}

fn numbers(record: &Record) -> String {
    let mut text = format!("loss {:.4}", record.loss);
    for (quantity, value) in &record.measures {
        let unit = quantity.unit();
        let gap = if unit.is_empty() || unit == "%" { "" } else { " " };
        text.push_str(&format!("  {} {value:.2}{gap}{unit}", quantity.name()));
    }
    text
}
