mod motion;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use ndarray::{Array2, Axis};
use perceiver_models::{Head, PerceiverConfig};
use perceiver_pipelines::{Features, Pooling};
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::json;

use super::Context;
use crate::args::{HeadArguments, ModelArguments, OutputArguments};
use crate::atomic_output::{complete, write_whole};
use crate::batch::Batch;
use crate::bundled::Bundled;
use crate::destination::check_file;
use crate::inputs::{InputArguments, Named, each_answer, split};
use crate::output::{one_line, path_text};

const EXAMPLES: &str = "\
Examples:
  perceiver features --model ./vision-perceiver-conv holiday -o holiday.safetensors
  perceiver features --model ./language-perceiver --text-file reviews.txt -o reviews.npy
  perceiver features --model ./language-perceiver --text \"A cat.\" --pool none -o latents.npy
  perceiver features --model ./optical-flow-perceiver frames -o motion.npy
  perceiver features --model ./multimodal-perceiver one.mp4 two.mp4 -o clips.safetensors

The inputs' names are in the metadata of X.safetensors, or in X.json beside X.npy.";

/// Write the latents of photos, texts, pairs of frames or video clips as vectors
///
/// Each input gives one vector, the mean of the model's latents, or all latents with --pool none.
/// An optical flow model takes frames as `perceiver flow` does and gives one vector per pair of
/// consecutive frames; an autoencoder takes videos and gives one vector per clip. An input that
/// cannot be read is skipped, with a line on stderr and exit code 1.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct FeaturesArguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    head: HeadArguments,
    #[command(flatten)]
    inputs: InputArguments,
    #[command(flatten)]
    output: OutputArguments,
    /// How to pool the latents
    #[arg(long, value_enum, default_value_t = Pool::Mean)]
    pool: Pool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Pool {
    /// Their mean: [inputs, channels]
    Mean,
    /// No pooling: [inputs, latents, channels]
    None,
}

/// The format of the output file, by its extension.
#[derive(Debug, Clone, Copy)]
enum Form {
    Safetensors,
    Npy,
}

/// Vectors of all inputs, one after another.
#[derive(Debug)]
struct Collected {
    pool: Pool,
    names: Vec<String>,
    values: Vec<f32>,
    /// Vectors and channels of one input.
    shape: [usize; 2],
}

pub(crate) fn run(arguments: &FeaturesArguments, context: &Context) -> Result<()> {
    let path = &arguments.output.output;
    let form = form(path)?;
    arguments.output.check_file(arguments.inputs.paths().iter().map(PathBuf::as_path))?;
    if let Form::Npy = form {
        check_file(&names_path(path), arguments.output.force.force)?;
    }
    let bundled = Bundled::classifier(arguments.inputs.are_texts());
    let folder = arguments.model.folder(bundled, context.output)?;
    let mut collected = Collected::new(arguments.pool);
    let take = Take { arguments, folder: &folder, context };
    // Loading refuses a folder without a known head.
    let head = match arguments.head.head {
        Some(head) => Ok(head),
        None => PerceiverConfig::from_pretrained(&folder).and_then(|config| config.head()),
    };
    let batch = match head {
        Ok(Head::OpticalFlow) => take.pairs(&mut collected)?,
        Ok(Head::MultimodalAutoencoding) => take.clips(&mut collected)?,
        _ => take.inputs(&mut collected)?,
    };
    if !collected.names.is_empty() {
        let shape = collected.write(path, form)?;
        let output = path_text(path);
        let json = json!({ "output": output, "features": shape, "inputs": collected.names });
        let text = format!("{}: features {shape:?}", one_line(&output));
        context.output.result(json, &text)?;
    }
    batch.finish()
}

/// A model folder, and the inputs for it.
struct Take<'a> {
    arguments: &'a FeaturesArguments,
    folder: &'a Path,
    context: &'a Context,
}

impl Take<'_> {
    /// Features of photos or texts.
    fn inputs(&self, collected: &mut Collected) -> Result<Batch> {
        let Self { arguments, folder, context } = self;
        let inputs = arguments.inputs.read(context.output)?;
        let device = context.open_device()?;
        let start = Instant::now();
        let pipeline = match arguments.head.head {
            Some(head) => Features::from_pretrained_as(folder, head, &device.device)?,
            None => Features::from_pretrained(folder, &device.device)?,
        };
        context.output.warnings(pipeline.warnings());

        let (total, unit) = (inputs.len(), arguments.inputs.unit());
        // The pipeline takes the mean on the model's device.
        let pooling = match arguments.pool {
            Pool::Mean => Pooling::Mean,
            Pool::None => Pooling::None,
        };
        let pipeline = pipeline
            .pooling(pooling)
            .batch(arguments.inputs.batch)
            .long_texts(arguments.inputs.long_texts.choice());
        if let (Pool::None, true) = (arguments.pool, arguments.inputs.are_texts()) {
            check_windows(&inputs, &pipeline)?;
        }
        let raw: Vec<_> = inputs.iter().map(|named| named.input.clone()).collect();
        let mut answers = pipeline.run_all(raw);
        let bar = context.output.progress("features", unit);
        let batch = each_answer(inputs, &mut answers, bar, |named, array| {
            collected.add(named.shown.clone(), &array)
        })?;
        if total > 1 {
            let split = split(answers.timings(), unit);
            context.output.note(&format!("{total} {unit}: {split}"));
        }
        context.note_device(&device, start);
        Ok(batch)
    }
}

/// Refuses texts of which some are read in more windows than others: their latents make no tensor.
fn check_windows(inputs: &[Named], pipeline: &Features) -> Result<()> {
    let mut first = None;
    for named in inputs {
        // What is wrong with a text is said when its turn comes.
        let Ok(windows) = pipeline.parts(named.input.clone()) else { continue };
        let (name, expected) = *first.get_or_insert((&named.name, windows));
        if windows != expected {
            let named = &named.name;
            bail!(
                "{named}: is read in {windows} windows, expected the {expected} of {name}; or --pool \
                 mean"
            );
        }
    }
    Ok(())
}

fn form(path: &Path) -> Result<Form> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("safetensors") => Ok(Form::Safetensors),
        Some("npy") => Ok(Form::Npy),
        _ => bail!("{}: expected a file named *.safetensors or *.npy", path.display()),
    }
}

/// The file for the inputs' names, which the .npy format cannot hold.
fn names_path(path: &Path) -> PathBuf {
    path.with_extension("json")
}

impl Collected {
    fn new(pool: Pool) -> Self {
        Self { pool, names: Vec::new(), values: Vec::new(), shape: [0, 0] }
    }

    /// Adds one input's latents, or their mean.
    fn add(&mut self, name: String, latents: &Array2<f32>) -> Result<()> {
        let mean = match self.pool {
            Pool::Mean => latents.mean_axis(Axis(0)).map(|mean| mean.insert_axis(Axis(0))),
            Pool::None => None,
        };
        let latents = mean.as_ref().unwrap_or(latents);
        let found: [usize; 2] = latents.dim().into();
        if !self.names.is_empty() && found != self.shape {
            let [vectors, expected] = [found[0], self.shape[0]];
            bail!("has {vectors} latents, expected the {expected} of the first; or --pool mean");
        }
        self.shape = found;
        self.values.extend(latents);
        self.names.push(name);
        Ok(())
    }

    /// Writes all vectors and returns their shape.
    fn write(&self, path: &Path, form: Form) -> Result<Vec<usize>> {
        let [latents, channels] = self.shape;
        let (inputs, names) = (self.names.len(), json!(self.names).to_string());
        let (shape, pooling) = match self.pool {
            Pool::Mean => (vec![inputs, channels], "mean"),
            Pool::None => (vec![inputs, latents, channels], "none"),
        };
        match form {
            Form::Safetensors => {
                let bytes = bytes(&self.values);
                let tensor = TensorView::new(Dtype::F32, shape.clone(), &bytes)?;
                let metadata = HashMap::from([
                    ("inputs".to_owned(), names),
                    ("pooling".to_owned(), pooling.to_owned()),
                ]);
                write_whole(path, &serialize([("features", tensor)], Some(metadata))?)?;
            }
            Form::Npy => {
                let names = complete(&names_path(path), names.as_bytes())?;
                write_whole(path, &npy(&shape, &self.values))?;
                names.finish()?;
            }
        }
        Ok(shape)
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A file in version 1.0 of NumPy's format, written here because crates for it bring a parser of
/// Python literals.
fn npy(shape: &[usize], values: &[f32]) -> Vec<u8> {
    const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
    const ALIGNMENT: usize = 64;
    let shape: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    let before = MAGIC.len() + size_of::<u16>();
    let length = (before + header.len() + 1).next_multiple_of(ALIGNMENT) - before;
    header.push_str(&" ".repeat(length - 1 - header.len()));
    header.push('\n');
    let length = (header.len() as u16).to_le_bytes();
    [MAGIC, &length, header.as_bytes(), &bytes(values)].concat()
}
