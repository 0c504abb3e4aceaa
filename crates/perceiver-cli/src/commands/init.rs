use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use perceiver_data::{PerceiverImageProcessor, PerceiverTokenizer};
use perceiver_models::{AnyPerceiver, Head, PerceiverConfig};
use serde_json::json;

use super::{Context, written};
use crate::args::{ForceArgument, head};
use crate::destination::check_folder;
use crate::files::copy_companions;
use crate::interrupt::sweep_when_interrupted;

const IMAGE_SETTINGS: &str = "preprocessor_config.json";

const EXAMPLES: &str = "\
Examples:
  perceiver init --head masked-lm --config config.json ./fresh
  perceiver init --head PerceiverForImageClassificationConvProcessing --config config.json ./fresh --seed 7";

/// Create a model with random weights, initialised as in the reference
///
/// The same seed gives the same weights on the same device. Settings files of the tokenizer or
/// image processor are copied from the configuration's folder; without them, the defaults are
/// written.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InitArguments {
    /// Head: its class name, or a short form such as masked-lm
    #[arg(long, value_name = "H", value_parser = head)]
    head: Head,
    /// Configuration: a config.json
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Folder to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Seed of the random numbers
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    force: ForceArgument,
}

pub(crate) fn run(arguments: &InitArguments, context: &Context) -> Result<()> {
    check_folder(&arguments.output, arguments.force.force)?;
    let mut config = PerceiverConfig::from_file(&arguments.config)?;
    config.architectures = vec![arguments.head.to_string()];
    let device = context.open_device()?;
    device.device.seed(arguments.seed);
    let model = AnyPerceiver::from_config(arguments.head, &config, &device.device)
        .map_err(|error| anyhow::anyhow!("{}: {error}", arguments.config.display()))?;
    sweep_when_interrupted(&arguments.output);
    model.save_pretrained(&config, &arguments.output)?;
    write_settings(arguments, &config)?;
    written(&arguments.output, arguments.head, context)
}

/// Writes the settings files that pipelines need.
fn write_settings(arguments: &InitArguments, config: &PerceiverConfig) -> Result<()> {
    let output = &arguments.output;
    let beside = arguments.config.parent().unwrap_or(Path::new(""));
    let beside = if beside.as_os_str().is_empty() { Path::new(".") } else { beside };
    if beside != output {
        copy_companions(beside, output)?;
    }
    let absent = |names: &[&str]| names.iter().all(|name| !output.join(name).exists());
    match arguments.head {
        Head::MaskedLm | Head::SequenceClassification if absent(&["tokenizer_config.json"]) => {
            PerceiverTokenizer::default().save_pretrained(output)?;
        }
        Head::ImageClassificationLearned
        | Head::ImageClassificationFourier
        | Head::ImageClassificationConvProcessing
            if absent(&[IMAGE_SETTINGS, "processor_config.json"]) =>
        {
            image_processor(arguments.head, config)?.save_pretrained(output)?;
        }
        _ => {}
    }
    Ok(())
}

/// The default processor, with the image size of learned positions if it differs.
fn image_processor(head: Head, config: &PerceiverConfig) -> Result<PerceiverImageProcessor> {
    const SIDE: usize = 224;
    const CROP: usize = 256;
    let [side, _] = config.image_size.height_width();
    if head != Head::ImageClassificationLearned || side == SIDE {
        return Ok(PerceiverImageProcessor::default());
    }
    let settings = json!({ "size": side, "crop_size": (side * CROP).div_ceil(SIDE) }).to_string();
    Ok(PerceiverImageProcessor::from_files(&[(IMAGE_SETTINGS, settings.as_bytes())])?)
}
