//! Benchmarks the autoencoder's decoder: on a whole clip, and on a clip encoded before.

use anyhow::Result;
use burn::tensor::{Device, Int, Tensor};
use perceiver_models::{
    MultimodalInput, MultimodalOutput, NamedTensors, OutputPoints, PerceiverConfig,
    PerceiverForMultimodalAutoencoding, PerceiverHead as _, Pretrained,
};

use crate::{Settings, sample, serve};

/// Number of chunks in which the reference's documentation decodes a clip.
pub(crate) const CHUNKS: usize = 128;

/// Encodes a clip once and decodes its first `chunks` chunks. Returns samples of the last chunk, as the
/// reference does, which encodes the clip again for every chunk.
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

/// Decodes the first `chunks` chunks at once; the clip is encoded before the clock starts.
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

/// `count` chunks of sound and of pixels, starting at `first`.
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

/// Copies answers into the host's memory.
fn read(answers: MultimodalOutput) -> Vec<f32> {
    let MultimodalOutput { audio, image, label } = answers;
    [audio.into_data(), image.into_data(), label.into_data()].iter().flat_map(sample).collect()
}
