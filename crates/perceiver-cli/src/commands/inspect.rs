use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use burn::tensor::DType;
use clap::Args;
use perceiver_models::{AnyPerceiver, Checkpoint, Head, PerceiverConfig};
use serde_json::{Map, Value, json};

use super::Context;
use crate::args::{HeadArguments, HubArguments};
use crate::device;
use crate::output::{dtype_name, grouped, megabytes, one_line, path_text, table};

mod differences;
mod parts;

use differences::differences;
use parts::{PARTS, part};

const EXAMPLES: &str = "\
Examples:
  perceiver inspect ./language-perceiver
  perceiver inspect deepmind/language-perceiver --offline --json";

/// Show a model's head, configuration, parameters and memory
///
/// Reads only the headers of the weights, so it is fast for models of any size.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InspectArguments {
    /// Model: a folder or a hub id
    #[arg(value_name = "DIR")]
    model: OsString,
    #[command(flatten)]
    hub: HubArguments,
    #[command(flatten)]
    head: HeadArguments,
}

pub(crate) fn run(arguments: &InspectArguments, context: &Context) -> Result<()> {
    let folder = arguments.hub.folder(&arguments.model)?;
    let config = PerceiverConfig::from_pretrained(&folder)?;
    let named = || folder.join(perceiver_models::CONFIG_NAME).display().to_string();
    let config = match arguments.head.head {
        Some(head) => config.with_head(head).with_context(named)?,
        None => config,
    };
    let head = config.head().with_context(named)?;
    // Parameters are lazy: only names and shapes are created.
    let device = device::open(device::DEFAULT)?.device;
    let model = AnyPerceiver::from_config(head, &config, &device).with_context(named)?;
    let checkpoint = Checkpoint::open(&folder)?;
    let summary = Summary::new(&folder, head, &checkpoint, &model.parameters())?;
    context.output.warnings(&summary.warnings);
    // The configuration of many labels is long.
    let json = if context.output.json { summary.json(&config) } else { Value::Null };
    context.output.result(json, &summary.text(&config))?;
    Ok(())
}

struct Summary {
    folder: String,
    head: Head,
    /// Parameters of each of [`PARTS`].
    parts: [usize; PARTS.len()],
    /// Running statistics of batch norms, which are not parameters.
    buffers: usize,
    /// Bytes of tensors by type.
    stored: BTreeMap<String, usize>,
    weights: String,
    /// Files of the folder with their sizes in bytes.
    files: Vec<(String, usize)>,
    warnings: Vec<String>,
}

impl Summary {
    fn new(
        folder: &Path,
        head: Head,
        checkpoint: &Checkpoint,
        expected: &[(String, Vec<usize>)],
    ) -> Result<Self> {
        let prefix = checkpoint.wrapper_prefix(expected.iter().map(|(key, _)| key.as_str()));
        let expected: Vec<_> =
            expected.iter().map(|(key, shape)| (format!("{prefix}{key}"), shape.clone())).collect();
        let mut summary = Self {
            folder: path_text(folder),
            head,
            parts: [0; PARTS.len()],
            buffers: 0,
            stored: BTreeMap::new(),
            weights: path_text(checkpoint.path()),
            files: files(folder).with_context(|| folder.display().to_string())?,
            warnings: differences(checkpoint, &expected),
        };
        if !prefix.is_empty() {
            let weights = &summary.weights;
            let note = format!("{weights}: keys begin with `{prefix}`, which is left off");
            summary.warnings.insert(0, note);
        }
        for (key, info) in checkpoint.tensors() {
            *summary.stored.entry(dtype_name(info.dtype)).or_default() += info.bytes();
            if checkpoint.is_scale(key) {
                continue;
            }
            match part(key.strip_prefix(prefix).unwrap_or(key)) {
                Some(part) => summary.parts[part] += info.elements(),
                None => summary.buffers += info.elements(),
            }
        }
        Ok(summary)
    }

    fn parameters(&self) -> usize {
        self.parts.iter().sum()
    }

    /// Memory of the loaded weights in bytes, by type.
    fn loaded(&self) -> [(&'static str, usize); 3] {
        let elements = self.parameters() + self.buffers;
        [("float32", DType::F32), ("float16", DType::F16), ("bfloat16", DType::BF16)]
            .map(|(name, dtype)| (name, elements * dtype.size()))
    }

    fn json(&self, config: &PerceiverConfig) -> Value {
        let mut parameters: Map<String, Value> = PARTS
            .iter()
            .zip(self.parts)
            .map(|(part, count)| ((*part).into(), json!(count)))
            .collect();
        parameters.insert("total".into(), json!(self.parameters()));
        let loaded: Map<String, Value> =
            self.loaded().iter().map(|(dtype, bytes)| ((*dtype).into(), json!(bytes))).collect();
        let files: Map<String, Value> =
            self.files.iter().map(|(name, bytes)| (name.clone(), json!(bytes))).collect();
        json!({
            "folder": self.folder,
            "head": self.head.name(),
            "parameters": parameters,
            "buffers": self.buffers,
            "dtypes": self.stored.keys().collect::<Vec<_>>(),
            "bytes_on_disk": self.stored,
            "bytes_in_memory": loaded,
            "weights": self.weights,
            "files": files,
            "warnings": self.warnings,
            "config": serde_json::from_str::<Value>(&config.to_json()).unwrap_or_default(),
        })
    }

    fn text(&self, config: &PerceiverConfig) -> String {
        let mut parameters: Vec<[String; 2]> = PARTS
            .iter()
            .zip(self.parts)
            .filter(|(_, count)| *count > 0)
            .map(|(part, count)| [(*part).to_owned(), grouped(count)])
            .collect();
        parameters.push(["total".to_owned(), grouped(self.parameters())]);
        let memory: Vec<[String; 3]> = self
            .stored
            .iter()
            .map(|(dtype, bytes)| ("on disk", dtype.as_str(), *bytes))
            .chain(self.loaded().map(|(dtype, bytes)| ("loaded", dtype, bytes)))
            .map(|(place, dtype, bytes)| [place.to_owned(), dtype.to_owned(), megabytes(bytes)])
            .collect();
        let files: Vec<[String; 2]> = self
            .files
            .iter()
            .map(|(name, bytes)| [one_line(name), format!("{} bytes", grouped(*bytes))])
            .collect();
        format!(
            "{} in {}\n\nconfiguration\n{}\nparameters\n{}\nmemory\n{}\nfiles\n{}",
            self.head,
            one_line(&self.folder),
            table(&parts::sizes(config, self.head)),
            table(&parameters),
            table(&memory),
            table(&files),
        )
    }
}

/// The regular files of a folder, by name.
fn files(folder: &Path) -> Result<Vec<(String, usize)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Caches hold links; count the sizes of their targets.
        let metadata = fs::metadata(entry.path());
        if let Ok(metadata) = metadata
            && metadata.is_file()
        {
            let bytes = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
            files.push((path_text(Path::new(&entry.file_name())), bytes));
        }
    }
    files.sort();
    Ok(files)
}
