use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use perceiver_data::{PerceiverImageProcessor, PerceiverTokenizer};
use perceiver_models::{AnyPerceiver, Head, PerceiverConfig, SaveOptions};

use super::{Context, written};
use crate::args::head;
use crate::files::{check_output_folder, copy_companions};

const EXAMPLES: &str = "\
Examples:
  perceiver init --head masked-lm --config config.json ./fresh
  perceiver init --head PerceiverForImageClassificationConvProcessing --config config.json ./fresh --seed 7";

/// Draw a fresh model as the reference initialises it
///
/// The same seed gives the same weights on the same device. The settings of tokenizer or image
/// processor are copied from beside the configuration, or else the defaults.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InitArguments {
    /// Head: its class name, or that in words, such as masked-lm
    #[arg(long, value_name = "H", value_parser = head)]
    head: Head,
    /// Configuration, a config.json
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Folder to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Seed of the random numbers
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Write into a folder that is not empty
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(arguments: &InitArguments, context: &Context) -> Result<()> {
    check_output_folder(&arguments.output, arguments.force)?;
    let mut config = PerceiverConfig::from_file(&arguments.config)?;
    config.architectures = vec![arguments.head.to_string()];
    let device = context.open_device()?;
    device.device.seed(arguments.seed);
    let model = AnyPerceiver::from_config(arguments.head, &config, &device.device)
        .map_err(|error| anyhow::anyhow!("{}: {error}", arguments.config.display()))?;
    model.save_pretrained(&config, &arguments.output, &SaveOptions::default())?;
    write_settings(arguments)?;
    written(&arguments.output, arguments.head, context)
}

fn write_settings(arguments: &InitArguments) -> Result<()> {
    let output = &arguments.output;
    let beside = arguments.config.parent().unwrap_or(Path::new(""));
    let beside = if beside.as_os_str().is_empty() { Path::new(".") } else { beside };
    if beside != output {
        copy_companions(beside, output)?;
    }
    match arguments.head {
        Head::MaskedLm | Head::SequenceClassification => {
            if !output.join("tokenizer_config.json").exists() {
                PerceiverTokenizer::default().save_pretrained(output)?;
            }
        }
        Head::ImageClassificationLearned
        | Head::ImageClassificationFourier
        | Head::ImageClassificationConvProcessing => {
            let there = ["preprocessor_config.json", "processor_config.json"];
            if !there.iter().any(|name| output.join(name).exists()) {
                PerceiverImageProcessor::default().save_pretrained(output)?;
            }
        }
        _ => {}
    }
    Ok(())
}
