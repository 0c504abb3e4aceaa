//! The command line.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use burn::tensor::Device;
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use perceiver_models::hub::{self, HubOptions};
use perceiver_models::{AnyPerceiver, Head, LoadOptions, Pretrained};

use crate::bundled::{self, Bundled};
use crate::commands::{
    AttendArguments, AutoencodeArguments, ClassifyArguments, CompletionsArguments,
    ConvertArguments, DoctorArguments, EvaluateArguments, FeaturesArguments, FillMaskArguments,
    FlowArguments, ForwardArguments, InitArguments, InspectArguments, ManArguments,
    PredictArguments, PreprocessArguments, TokenizeArguments, TrainArguments,
};
use crate::device;
use crate::output::Output;

/// Clap's error for a command line without arguments: the help on stderr.
pub(crate) const HELP_WITHOUT_ARGUMENTS: ErrorKind =
    ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;

const EXAMPLES: &str = "\
Examples:
  perceiver fill-mask --model deepmind/language-perceiver \"Cats and [MASK][MASK][MASK][MASK].\"
  perceiver classify --model ./vision-perceiver-conv photo.jpg
  perceiver features --model ./vision-perceiver-conv holiday -o holiday.safetensors
  perceiver autoencode --model deepmind/multimodal-perceiver clip.mp4 -o again.mp4
  perceiver flow --model deepmind/optical-flow-perceiver first.png second.png -o flow.png
  perceiver inspect ./vision-perceiver-conv
  perceiver forward --model ./model --inputs in.safetensors --output out.safetensors

Errors are one line on stderr. Exit codes: 0 all was done, 1 some or all of the work failed, 2 the work was
refused, 101 a bug, 130 interrupted.";

/// Run Perceiver models on files: fill in text, classify, convert and inspect Hugging Face checkpoints
#[derive(Debug, Parser)]
#[command(name = "perceiver", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: GlobalArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct GlobalArguments {
    /// Backend to compute on, with an index if it has several devices: flex, wgpu:0
    #[arg(long, global = true, value_name = "NAME", default_value = device::DEFAULT)]
    pub(crate) device: String,
    /// Print each result as one JSON document
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print no notes; warnings and errors still appear
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    FillMask(FillMaskArguments),
    Classify(ClassifyArguments),
    Features(FeaturesArguments),
    Attend(AttendArguments),
    Autoencode(AutoencodeArguments),
    Flow(FlowArguments),
    Predict(PredictArguments),
    Evaluate(EvaluateArguments),
    Train(TrainArguments),
    Forward(ForwardArguments),
    Tokenize(TokenizeArguments),
    Preprocess(PreprocessArguments),
    Inspect(InspectArguments),
    Convert(ConvertArguments),
    Init(InitArguments),
    Doctor(DoctorArguments),
    Completions(CompletionsArguments),
    Man(ManArguments),
}

/// A model; by default, the bundled one that fits the command.
#[derive(Debug, Args)]
pub(crate) struct ModelArguments {
    /// Model: a folder, a hub id such as deepmind/language-perceiver, or the name of a bundled model
    /// [default: a small bundled model]
    #[arg(long, value_name = "DIR")]
    model: Option<OsString>,
    #[command(flatten)]
    hub: HubArguments,
}

/// A model whose settings are used, if given.
#[derive(Debug, Args)]
pub(crate) struct OptionalModelArguments {
    /// Model whose settings replace the defaults: a folder or a hub id
    #[arg(long, value_name = "DIR")]
    model: Option<OsString>,
    #[command(flatten)]
    hub: HubArguments,
}

/// A file or folder to write.
#[derive(Debug, Args)]
pub(crate) struct OutputArguments {
    /// File to write; its extension selects the format
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) force: ForceArgument,
}

/// Permission to replace files.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ForceArgument {
    /// Replace an existing output, or write into a folder that is not empty
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HubArguments {
    /// Branch, tag or commit of a hub model
    #[arg(long, value_name = "NAME", default_value = "main")]
    revision: String,
    /// Use only cached hub models
    #[arg(long)]
    offline: bool,
}

impl ModelArguments {
    /// The model's folder; notes if it is a bundled one.
    pub(crate) fn folder(&self, bundled: Bundled, output: Output) -> Result<PathBuf> {
        match &self.model {
            Some(model) => self.hub.folder(model),
            None => {
                let folder = bundled.folder()?;
                output.note(&format!("model: {}, which comes with this program", bundled.name()));
                Ok(folder)
            }
        }
    }
}

impl OptionalModelArguments {
    pub(crate) fn folder(&self) -> Result<Option<PathBuf>> {
        self.model.as_deref().map(|model| self.hub.folder(model)).transpose()
    }
}

impl HubArguments {
    /// The folder of a model, which may be bundled, cached or downloaded.
    pub(crate) fn folder(&self, model: &OsStr) -> Result<PathBuf> {
        let Some(model) = model.to_str() else {
            let path = PathBuf::from(model);
            if !path.is_dir() {
                bail!("{}: does not exist, expected a model folder or a hub id", path.display());
            }
            return Ok(path);
        };
        if !Path::new(model).exists()
            && let Some(folder) = bundled::named(model)
        {
            return Ok(folder);
        }
        let mut options = HubOptions::default();
        options.revision.clone_from(&self.revision);
        options.offline |= self.offline;
        Ok(hub::resolve(model, &options)?)
    }
}

/// The head of a model, if its configuration does not name it.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct HeadArguments {
    /// Head of a model whose config.json names none: masked-lm, image-classification-fourier
    #[arg(long, value_name = "NAME", value_parser = head)]
    pub(crate) head: Option<Head>,
}

impl HeadArguments {
    /// Loads the model in a folder.
    pub(crate) fn load(
        self,
        folder: &Path,
        device: &Device,
        options: &LoadOptions,
    ) -> Result<Pretrained<AnyPerceiver>, perceiver_models::Error> {
        match self.head {
            Some(head) => AnyPerceiver::from_pretrained_as(folder, head, device, options),
            None => AnyPerceiver::from_pretrained_with(folder, device, options),
        }
    }

    /// Refuses any head except the one that the command needs.
    pub(crate) fn only(self, needed: Head) -> Result<()> {
        match self.head {
            Some(head) if head != needed => bail!("--head is {head}, expected {needed}"),
            _ => Ok(()),
        }
    }
}

/// The reference's two image processors.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ImageBackend {
    /// The arithmetic of PerceiverImageProcessorPil
    Pil,
    /// The arithmetic of PerceiverImageProcessor
    Torchvision,
}

/// A head by its class name or a short form: `PerceiverForMaskedLM`, `masked-lm`.
pub(crate) fn head(name: &str) -> Result<Head, String> {
    let plain = |text: &str| {
        let text: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
        let text = text.to_lowercase();
        let text = text.strip_prefix("perceiver").unwrap_or(&text);
        text.strip_prefix("for").unwrap_or(text).to_owned()
    };
    let named = |(known, _): &&(&str, Head)| plain(known) == plain(name);
    Head::NAMES.iter().find(named).map(|&(_, head)| head).ok_or_else(|| {
        let known = Head::NAMES.map(|(known, _)| known).join(", ");
        format!("unknown head, expected one of {known}")
    })
}

/// Clap's error about a wrong command line, on one line and without the usage.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.split("\n\nUsage:").next().unwrap_or_default();
    let text = text.split("\n\nFor more information").next().unwrap_or_default();
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{words} (see --help)")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_subcommand_shows_examples() {
        for command in Arguments::command().get_subcommands() {
            let help = command.get_after_help().unwrap().to_string();
            assert!(help.starts_with("Examples:\n  perceiver "), "{}", command.get_name());
        }
    }

    #[test]
    fn heads_have_short_names() {
        assert_eq!(head("masked-lm").unwrap(), Head::MaskedLm);
        assert_eq!(head("PerceiverForOpticalFlow").unwrap(), Head::OpticalFlow);
        assert_eq!(head("model").unwrap(), Head::Model);
        assert_eq!(head("PerceiverModel").unwrap(), Head::Model);
        assert!(head("bert").unwrap_err().contains("PerceiverForMaskedLM"));
    }

    #[test]
    fn usage_errors_fit_one_line() {
        let error = Arguments::try_parse_from(["perceiver", "forward"]).unwrap_err();
        let line = one_line(&error);
        assert!(!line.contains('\n'), "{line}");
        assert!(line.contains("--model") && line.contains("--output"), "{line}");
    }
}
