//! The subcommands, one file each.

mod attend;
mod autoencode;
mod classify;
mod completions;
mod convert;
mod doctor;
mod evaluate;
mod features;
mod fill_mask;
mod flow;
mod forward;
mod init;
mod inspect;
mod man;
mod predict;
mod preprocess;
mod tokenize;
mod train;

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use perceiver_models::{Checkpoint, Head, TensorInfo};
use serde_json::json;

pub(crate) use self::attend::AttendArguments;
pub(crate) use self::autoencode::AutoencodeArguments;
pub(crate) use self::classify::ClassifyArguments;
pub(crate) use self::completions::CompletionsArguments;
pub(crate) use self::convert::ConvertArguments;
pub(crate) use self::doctor::{DoctorArguments, NoDevice};
pub(crate) use self::evaluate::EvaluateArguments;
pub(crate) use self::features::FeaturesArguments;
pub(crate) use self::fill_mask::FillMaskArguments;
pub(crate) use self::flow::FlowArguments;
pub(crate) use self::forward::ForwardArguments;
pub(crate) use self::init::InitArguments;
pub(crate) use self::inspect::InspectArguments;
pub(crate) use self::man::ManArguments;
pub(crate) use self::predict::PredictArguments;
pub(crate) use self::preprocess::PreprocessArguments;
pub(crate) use self::tokenize::TokenizeArguments;
pub(crate) use self::train::TrainArguments;
use crate::args::{Arguments, Command};
use crate::device::{self, OpenDevice};
use crate::output::{Output, dtype_name, megabytes, one_line, path_text};

/// Settings shared by all subcommands.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) output: Output,
    device: String,
}

impl Context {
    pub(crate) fn open_device(&self) -> Result<OpenDevice> {
        device::open(&self.device)
    }

    /// Names the device once its work is done, so that an error is the only line.
    pub(crate) fn note_device(&self, device: &OpenDevice, since: Instant) {
        let seconds = since.elapsed().as_secs_f64();
        self.output.note(&format!("{}, {seconds:.2} s", device.description));
    }
}

pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let global = arguments.global;
    let output = Output { json: global.json, quiet: global.quiet };
    let context = Context { output, device: global.device };
    match arguments.command {
        Command::FillMask(arguments) => fill_mask::run(&arguments, &context),
        Command::Classify(arguments) => classify::run(&arguments, &context),
        Command::Autoencode(arguments) => autoencode::run(&arguments, &context),
        Command::Features(arguments) => features::run(&arguments, &context),
        Command::Attend(arguments) => attend::run(&arguments, &context),
        Command::Flow(arguments) => flow::run(&arguments, &context),
        Command::Predict(arguments) => predict::run(&arguments, &context),
        Command::Evaluate(arguments) => evaluate::run(&arguments, &context),
        Command::Train(arguments) => train::run(&arguments, &context),
        Command::Forward(arguments) => forward::run(&arguments, &context),
        Command::Tokenize(arguments) => tokenize::run(&arguments, &context),
        Command::Preprocess(arguments) => preprocess::run(&arguments, &context),
        Command::Inspect(arguments) => inspect::run(&arguments, &context),
        Command::Convert(arguments) => convert::run(&arguments, &context),
        Command::Init(arguments) => init::run(&arguments, &context),
        Command::Doctor(DoctorArguments {}) => doctor::run(&context),
        Command::Completions(arguments) => completions::run(&arguments, &context),
        Command::Man(arguments) => man::run(&arguments, &context),
    }
}

/// Prints a summary of a written model folder.
fn written(folder: &Path, head: Head, context: &Context) -> Result<()> {
    let checkpoint = Checkpoint::open(folder)?;
    let tensors = || checkpoint.tensors().map(|(_, info)| info);
    let bytes: usize = tensors().map(TensorInfo::bytes).sum();
    let floats = tensors().filter(|info| info.dtype.is_float());
    let mut dtypes: Vec<String> = floats.map(|info| dtype_name(info.dtype)).collect();
    dtypes.sort();
    dtypes.dedup();
    let (folder, weights) = (path_text(folder), path_text(checkpoint.path()));
    let json = json!({
        "output": folder,
        "head": head.name(),
        "weights": weights,
        "tensors": tensors().count(),
        "dtypes": dtypes,
        "bytes": bytes,
    });
    let text = format!(
        "{}: {head}, {} tensors, {}, {}",
        one_line(&folder),
        tensors().count(),
        dtypes.join(" and "),
        megabytes(bytes)
    );
    context.output.result(json, &text)?;
    Ok(())
}
