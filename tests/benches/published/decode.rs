//! The autoencoder's decoder: a whole clip, and a clip that was read before.

use anyhow::Result;
use burn::tensor::{Device, Int, Tensor};
use perceiver_models::{
    MultimodalInput, MultimodalOutput, NamedTensors, OutputPoints, PerceiverConfig,
    PerceiverForMultimodalAutoencoding, PerceiverHead as _, Pretrained,
};

use crate::{Settings, sample, serve};

/// In so many parts the reference's documentation decodes a clip.
pub(crate) const CHUNKS: usize = 128;

/// Reads a clip once and decodes its first `chunks` parts; returns what the last part shows, as the
/// reference does, which reads the clip anew for every part.
pub(crate) fn clip(settings: &Settings, chunks: usize) -> Result<()> {
    let device = settings.open()?;
    let Pretrained { model, config, .. } = load(settings, &device)?;
    let inputs = settings.inputs();
    let points = part(&config, 0, chunks, &device);
    serve(&device, || {
        let encoded = model.encode(input(&inputs, &device));
        let MultimodalOutput { audio, image, label } = model.decode(&encoded, &points).logits;
        let last = |count: usize| count / chunks * (chunks - 1)..count;
        let [_, samples] = audio.dims();
        let [_, pixels, _] = image.dims();
        let audio = audio.slice_dim(1, last(samples));
        let image = image.slice_dim(1, last(pixels));
        Ok(read(MultimodalOutput { audio, image, label }))
    })
}

/// Decodes the first `chunks` parts at once of a clip that is read before time is taken.
pub(crate) fn points(settings: &Settings, chunks: usize) -> Result<()> {
    let device = settings.open()?;
    let Pretrained { model, config, .. } = load(settings, &device)?;
    let input = input(&settings.inputs(), &device);
    let encoded = model.encode(input);
    let points = part(&config, 0, chunks, &device);
    serve(&device, || Ok(read(model.decode(&encoded, &points).logits)))
}

fn load(
    settings: &Settings,
    device: &Device,
) -> Result<Pretrained<PerceiverForMultimodalAutoencoding>> {
    let options = settings.load_options();
    Ok(PerceiverForMultimodalAutoencoding::from_pretrained_with(
        &settings.folder,
        device,
        &options,
    )?)
}

fn input(tensors: &NamedTensors, device: &Device) -> MultimodalInput {
    MultimodalInput {
        audio: Tensor::from_data(tensors["inputs.audio"].clone(), device),
        image: Tensor::from_data(tensors["inputs.image"].clone(), device),
        label: Tensor::from_data(tensors["inputs.label"].clone(), device),
        hidden_labels: None,
    }
}

/// `count` parts of sound and of pixels, from the given one on.
fn part(config: &PerceiverConfig, first: usize, count: usize, device: &Device) -> OutputPoints {
    let samples = config.num_frames * config.audio_samples_per_frame;
    let points = |all: usize| {
        let of = |chunk: usize| (all / CHUNKS * chunk) as i64;
        Some(Tensor::<1, Int>::arange(of(first)..of(first + count), device))
    };
    OutputPoints {
        audio: points(samples / config.samples_per_patch),
        image: points(config.output_shape[1..].iter().product()),
    }
}

/// Brings answers into the host's memory.
fn read(answers: MultimodalOutput) -> Vec<f32> {
    let MultimodalOutput { audio, image, label } = answers;
    [audio.into_data(), image.into_data(), label.into_data()].iter().flat_map(sample).collect()
}
