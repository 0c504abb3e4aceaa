use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, bail};
use burn::tensor::FloatDType;
use clap::{Args, ValueEnum};
use perceiver_models::{
    AnyPerceiver, KeyMap, LoadOptions, Pretrained, Quantisation, SaveOptions, quantisation,
};

use super::{Context, written};
use crate::args::{ForceArgument, HeadArguments, HubArguments};
use crate::destination::check_folder;
use crate::files::copy_companions;
use crate::interrupt::sweep_when_interrupted;

const EXAMPLES: &str = "\
Examples:
  perceiver convert ./old-with-pytorch_model.bin ./new
  perceiver convert deepmind/language-perceiver ./half --dtype f16
  perceiver convert deepmind/language-perceiver ./small --dtype int8
  perceiver convert ./model ./sharded --max-shard-size 200MB

Units of --max-shard-size: KB, MB, GB (powers of 1000), KiB, MiB, GiB (powers of 1024).";

/// Rewrite a model: as safetensors, in another type or in 8 bits, in shards
///
/// Reads safetensors files and PyTorch pickles, whole or sharded, and writes a folder that
/// transformers loads. Settings files of the tokenizer and image processor are copied.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ConvertArguments {
    /// Model to read: a folder or a hub id
    #[arg(value_name = "DIR")]
    model: OsString,
    /// Folder to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Type of the weights [default: unchanged]
    #[arg(long, value_name = "TYPE")]
    dtype: Option<DtypeArgument>,
    /// With int8: linear layers to leave in floating point, separated by commas, or `none`
    /// [default: those whose weights change by more than 2 %]
    ///
    /// Names are those of the keys of the weights, without `.weight`.
    #[arg(long, value_name = "LAYERS", value_delimiter = ',')]
    ignore: Option<Vec<String>>,
    /// Largest size of a file, such as 2GB [default: a single file]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_shard_size: Option<u64>,
    #[command(flatten)]
    force: ForceArgument,
    #[command(flatten)]
    hub: HubArguments,
    #[command(flatten)]
    head: HeadArguments,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DtypeArgument {
    /// Single precision
    #[value(alias = "float32")]
    F32,
    /// Half precision
    #[value(alias = "float16")]
    F16,
    /// Half the bits, with the range of single precision
    #[value(alias = "bfloat16")]
    Bf16,
    /// Linear layers in 8 bits, in the format of compressed-tensors
    Int8,
}

pub(crate) fn run(arguments: &ConvertArguments, context: &Context) -> Result<()> {
    check_folder(&arguments.output, arguments.force.force)?;
    let folder = arguments.hub.folder(&arguments.model)?;
    let device = context.open_device()?;
    let loading = LoadOptions { dtype: None, ..LoadOptions::default() };
    let Pretrained { model, mut config, report } =
        arguments.head.load(&folder, &device.device, &loading)?;
    let dtype = arguments.dtype.and_then(|dtype| match dtype {
        DtypeArgument::F32 => Some(FloatDType::F32),
        DtypeArgument::F16 => Some(FloatDType::F16),
        DtypeArgument::Bf16 => Some(FloatDType::BF16),
        DtypeArgument::Int8 => None,
    });
    match arguments.dtype {
        Some(DtypeArgument::Int8) => {
            config.quantisation = Some(chosen_layers(&model, arguments.ignore.as_deref())?);
        }
        _ if arguments.ignore.is_some() => bail!("--ignore needs --dtype int8"),
        Some(_) => config.quantisation = None,
        None => {}
    }
    let saving = SaveOptions { dtype, max_shard_size: arguments.max_shard_size };
    sweep_when_interrupted(&arguments.output);
    model.save_pretrained_with(&config, &arguments.output, &saving)?;
    if folder != arguments.output {
        copy_companions(&folder, &arguments.output)?;
    }
    context.output.warnings(&report.warnings());
    written(&arguments.output, model.head(), context)
}

/// The layers to write in 8 bits: all except those of `--ignore`, or those that change little.
fn chosen_layers(model: &AnyPerceiver, ignore: Option<&[String]>) -> Result<Quantisation> {
    let Some(ignore) = ignore else {
        return Ok(quantisation(model, &KeyMap::PERCEIVER)?);
    };
    if ignore == ["none"] {
        return Ok(Quantisation::default());
    }
    let parameters = model.parameters();
    for layer in ignore {
        let key = format!("{layer}.weight");
        if !parameters.iter().any(|(known, shape)| *known == key && shape.len() == 2) {
            bail!("--ignore: the model has no layer {layer:?}");
        }
    }
    Ok(Quantisation { ignore: ignore.to_vec() })
}

/// A number of bytes with an optional unit.
fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 7] = [
        ("", 1),
        ("kb", 1000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
    ];
    let expected = "expected a positive number of bytes such as 2GB or 500MiB";
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_lowercase();
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|&(_, factor)| factor);
    let number = number.parse::<u64>().ok().filter(|&number| number > 0);
    match (number, factor) {
        (Some(number), Some(factor)) => {
            number.checked_mul(factor).ok_or_else(|| expected.to_owned())
        }
        _ => Err(expected.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("2GB"), Ok(2_000_000_000));
        assert_eq!(size("500 MiB"), Ok(500 << 20));
        assert_eq!(size("17"), Ok(17));
        for wrong in ["", "GB", "0", "-1", "1TB", "1.5GB", "99999999999GB", "٣MB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
