//! Benchmarks training steps of an image classifier and of a masked language model.

use anyhow::{Context as _, Result, ensure};
use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor};
use perceiver_models::losses::{IGNORED_LABEL, Labels};
use perceiver_models::{
    Checkpoint, Head, KeyMap, KeyMask, LoadOptions, NamedTensors, PerceiverConfig,
    PerceiverForImageClassificationFourier, PerceiverHead, Request, load_module,
};
use perceiver_train::{AdamW, MaskedLanguageModelling, MaskedTexts, Objective as _};

use crate::{Settings, serve};

const LEARNING_RATE: f64 = 1e-4;

/// Number of classes that every classifier has.
const CLASSES: i64 = 10;

/// Trains the head in the folder, one of the two, without dropout.
///
/// A photo's class is its place in the batch, modulo ten; a text's labels are its own bytes.
pub(crate) fn train(settings: &Settings) -> Result<()> {
    ensure!(!settings.bf16, "training is compared in single precision only");
    let device = settings.open()?.autodiff();
    let inputs = settings.inputs();
    if PerceiverConfig::from_pretrained(&settings.folder)?.head()? == Head::MaskedLm {
        return text(settings, &inputs, &device);
    }
    let pixels = Tensor::<4>::from_data(inputs["inputs"].clone(), &device);
    let classes = Tensor::<1, Int>::arange(0..settings.batch as i64, &device);
    let classes = classes.remainder_scalar(CLASSES);
    let labels = Labels::Classes(classes);
    let model: PerceiverForImageClassificationFourier = load(settings, &device)?;
    steps(model, &device, |model| {
        model.forward(Request::new(pixels.clone()).labels(labels.clone())).loss
    })
}

/// Three of twenty bytes have labels: 15 %, as in training.
fn text(settings: &Settings, inputs: &NamedTensors, device: &Device) -> Result<()> {
    let ids = Tensor::<2, Int>::from_data(inputs["inputs"].clone(), device);
    let [_, length] = ids.dims();
    let places = Tensor::<1, Int>::arange(0..length as i64, device).unsqueeze::<2>();
    let passed_over = places.remainder_scalar(20).greater_equal_elem(3).expand(ids.dims());
    let mut labels = ids.clone().mask_fill(passed_over, IGNORED_LABEL);
    let mut padding = None;
    if let Some(kept) = inputs.get("attention_mask") {
        let mask = KeyMask::from_attention_mask(Tensor::from_data(kept.clone(), device));
        labels = labels.mask_fill(mask.hidden(), IGNORED_LABEL);
        padding = Some(mask);
    }
    let labels: Vec<i64> = labels.into_data().iter().collect();
    let labels: Vec<_> = labels.chunks(length).map(<[i64]>::to_vec).collect();
    let batch = MaskedTexts::new(ids, padding, &labels);
    let model = MaskedLanguageModelling::new(load(settings, device)?);
    steps(model, device, |model| Some(model.step(batch.clone()).loss))
}

/// Loads a published head without the dropout of its configuration.
fn load<M: PerceiverHead>(settings: &Settings, device: &Device) -> Result<M> {
    let folder = &settings.folder;
    let mut config = PerceiverConfig::from_pretrained(folder)?;
    config.attention_probs_dropout_prob = 0.0;
    let fresh = M::from_config(&config, device)?;
    let checkpoint = Checkpoint::open(folder)?;
    Ok(load_module(fresh, &checkpoint, &KeyMap::PERCEIVER, &LoadOptions::default())?.0)
}

fn steps<M: Module>(
    model: M,
    device: &Device,
    loss: impl Fn(&M) -> Option<Tensor<1>>,
) -> Result<()> {
    let mut optimizer = ModuleOptimizer::from(AdamW::default());
    let mut model = Some(model);
    serve(device, || {
        let before = model.take().context("an earlier step failed")?;
        let loss = loss(&before).context("there is no loss without labels")?;
        let gradients = GradientsParams::from_grads(loss.backward(), &before);
        model = Some(optimizer.step(LEARNING_RATE, before, gradients));
        Ok(vec![loss.into_scalar()])
    })
}
