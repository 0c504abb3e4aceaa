use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use burn::tensor::TensorData;
use clap::Args;
use perceiver_core::OutputOptions;
use perceiver_models::{
    Checkpoint, ForwardOptions, LoadOptions, NamedTensors, Pretrained, write_tensors,
};
use serde_json::{Map, Value, json};

use super::Context;
use crate::args::{HeadArguments, HubArguments, OutputArguments};
use crate::atomic_output::folder_of;
use crate::interrupt::sweep_when_interrupted;
use crate::output::{dtype_name, one_line, path_text, table};

const EXAMPLES: &str = "\
Examples:
  perceiver forward --model ./model --inputs in.safetensors --output out.safetensors
  perceiver forward --model ./model --inputs in.safetensors --output out.safetensors \\
      --hidden-states --attentions --device wgpu:0

Inputs are named as the reference's arguments: inputs (or input_ids, pixel_values), attention_mask,
labels; for the autoencoder inputs.image, inputs.audio, inputs.label and
subsampled_output_points.image, .audio. Outputs are named as transformers returns them: logits (or
logits.image, …), loss, last_hidden_state, hidden_states.0, attentions.0, cross_attentions.0, ….";

/// Run any model on tensors from a file
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ForwardArguments {
    /// Model: a folder or a hub id such as deepmind/language-perceiver
    #[arg(long, value_name = "DIR")]
    model: OsString,
    #[command(flatten)]
    hub: HubArguments,
    #[command(flatten)]
    head: HeadArguments,
    /// Safetensors file with the inputs
    #[arg(long, value_name = "IN.safetensors")]
    inputs: PathBuf,
    #[command(flatten)]
    output: OutputArguments,
    /// Also write the latents before every layer
    #[arg(long)]
    hidden_states: bool,
    /// Also write attention maps
    #[arg(long)]
    attentions: bool,
    /// Interpolate learned positions for images of another size
    #[arg(long)]
    interpolate_pos_encoding: bool,
}

pub(crate) fn run(arguments: &ForwardArguments, context: &Context) -> Result<()> {
    let output = &arguments.output.output;
    arguments.output.check_file([arguments.inputs.as_path()])?;
    let inputs = read(&arguments.inputs)?;
    let device = context.open_device()?;
    let folder = arguments.hub.folder(&arguments.model)?;
    let start = Instant::now();
    let loading = LoadOptions::default();
    let Pretrained { model, config, report } =
        arguments.head.load(&folder, &device.device, &loading)?;
    let options = ForwardOptions {
        outputs: OutputOptions {
            hidden_states: arguments.hidden_states,
            attentions: arguments.attentions,
        },
        interpolate_positions: arguments.interpolate_pos_encoding,
    };
    let outputs = model
        .forward(inputs, &config, options, &device.device)
        .with_context(|| arguments.inputs.display().to_string())?;
    for (_, data) in outputs.iter().filter(|(_, data)| data.dtype().is_float()) {
        report.check_outputs(data.iter::<f32>())?;
    }
    let tensors: Vec<_> = outputs.iter().map(|(name, data)| describe(name, data)).collect();
    sweep_when_interrupted(folder_of(output));
    write_tensors(output, outputs)?;
    context.output.warnings(&report.warnings());
    context.note_device(&device, start);

    let output = path_text(output);
    let text = table(&tensors.iter().map(Tensor::row).collect::<Vec<_>>());
    let names = tensors.iter().map(|tensor| (tensor.name.clone(), tensor.json()));
    let json = json!({ "output": output, "tensors": names.collect::<Map<_, _>>() });
    context.output.result(json, &format!("{}\n{text}", one_line(&output)))?;
    Ok(())
}

fn read(path: &Path) -> Result<NamedTensors> {
    if path.extension().is_none_or(|extension| extension != "safetensors") {
        bail!("{}: expected a file named *.safetensors", path.display());
    }
    let file = Checkpoint::open(path)?;
    let names: Vec<_> = file.tensors().map(|(name, _)| name.to_owned()).collect();
    names.into_iter().map(|name| Ok((name.clone(), file.read(&name)?))).collect()
}

/// Summary of a written tensor.
struct Tensor {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    /// The value of a tensor without axes.
    value: Option<f64>,
}

fn describe(name: &str, data: &TensorData) -> Tensor {
    let shape = data.shape().to_vec();
    let value = if shape.is_empty() { data.iter::<f64>().next() } else { None };
    Tensor { name: name.to_owned(), dtype: dtype_name(data.dtype()), shape, value }
}

impl Tensor {
    fn row(&self) -> [String; 3] {
        let shape =
            self.value.map_or_else(|| format!("{:?}", self.shape), |value| value.to_string());
        [self.name.clone(), self.dtype.clone(), shape]
    }

    fn json(&self) -> Value {
        let mut json = json!({ "dtype": self.dtype, "shape": self.shape });
        if let Some(value) = self.value {
            json["value"] = json!(value);
        }
        json
    }
}
