use std::path::PathBuf;

use anyhow::{Context as _, Result};
use burn::tensor::TensorData;
use clap::Args;
use perceiver_data::{Backend, PerceiverImageProcessor, read_image};
use perceiver_models::write_tensors;
use serde_json::json;

use super::Context;
use crate::args::{ImageBackend, OptionalModelArguments, OutputArguments};
use crate::atomic_output::folder_of;
use crate::interrupt::sweep_when_interrupted;
use crate::output::{one_line, path_text};

const EXAMPLES: &str = "\
Examples:
  perceiver preprocess photo.jpg --output pixels.safetensors
  perceiver preprocess *.png --model deepmind/vision-perceiver-learned --output pixels.safetensors
  perceiver preprocess photo.jpg --backend pil --output pixels.safetensors";

/// Turn images into a model's input: crop, resize, rescale, normalise
///
/// Writes pixel_values, [images, 3, height, width], which `perceiver forward` reads.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PreprocessArguments {
    /// Images to read: PNG, JPEG, WebP, TIFF, BMP or GIF
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArguments,
    /// Arithmetic to follow [default: as the model's settings say]
    #[arg(long, value_name = "NAME")]
    backend: Option<ImageBackend>,
    #[command(flatten)]
    model: OptionalModelArguments,
}

pub(crate) fn run(arguments: &PreprocessArguments, context: &Context) -> Result<()> {
    let output = &arguments.output.output;
    arguments.output.check_file(arguments.images.iter().map(PathBuf::as_path))?;
    let processor = match arguments.model.folder()? {
        Some(folder) => PerceiverImageProcessor::from_pretrained(folder)?,
        None => PerceiverImageProcessor::default(),
    };
    let processor = match arguments.backend {
        None => processor,
        Some(ImageBackend::Pil) => processor.with_backend(Backend::Pil),
        Some(ImageBackend::Torchvision) => processor.with_backend(Backend::Torchvision),
    };
    let images: Vec<_> = arguments.images.iter().map(read_image).collect::<Result<_, _>>()?;
    let pixels = processor.preprocess(&images).with_context(|| {
        let names = arguments.images.iter().map(|image| image.display().to_string());
        names.collect::<Vec<_>>().join(", ")
    })?;
    let (count, channels, height, width) = pixels.dim();
    let shape = [count, channels, height, width];
    let (values, _) = pixels.into_raw_vec_and_offset();
    let pixels = TensorData::new(values, shape);
    sweep_when_interrupted(folder_of(output));
    write_tensors(output, [("pixel_values".to_owned(), pixels)])?;

    let output = path_text(output);
    let json = json!({ "output": output, "pixel_values": shape });
    let text = format!("{}: pixel_values {shape:?}", one_line(&output));
    context.output.result(json, &text)?;
    Ok(())
}
