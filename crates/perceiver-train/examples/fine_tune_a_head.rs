//! Fine-tunes a text classifier from a language model, whose encoder stays as it is.
//!
//!     cargo run --release -p perceiver-train --example fine_tune_a_head
//!
//! It writes a small language model first; `deepmind/language-perceiver` would do as well (feature
//! `hub` of perceiver-models).

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use perceiver_train::data::{EncodeOptions, Label, LabelledText, PerceiverTokenizer};
use perceiver_train::models::{
    LoadOptions, PerceiverConfig, PerceiverForMaskedLM, PerceiverForSequenceClassification,
    PerceiverHead, freeze_encoder,
};
use perceiver_train::{
    Error, LoaderBuilder, Result, SequenceClassification, TextBatcher, TrainingRun,
};

const CLASSES: [&str; 2] = ["question", "statement"];

/// Longest text in tokens.
const LENGTH: usize = 32;

fn examples() -> Vec<LabelledText> {
    let words = ["time", "rain", "snow", "wind", "light", "salt", "fish", "bread"];
    let texts = words
        .iter()
        .flat_map(|word| [(0, format!("what is {word}?")), (1, format!("here is {word}."))]);
    texts.map(|(class, text)| LabelledText { text, label: Label::Class(class) }).collect()
}

fn config() -> PerceiverConfig {
    PerceiverConfig {
        num_latents: 8,
        d_latents: 32,
        d_model: 32,
        num_self_attends_per_block: 1,
        max_position_embeddings: LENGTH,
        initializer_range: 0.1,
        ..PerceiverConfig::default()
    }
}

/// Stands in for a language model that was trained for days.
fn language_model(folder: &Path, device: &Device) -> Result<()> {
    let model = PerceiverForMaskedLM::from_config(&config(), device)?;
    Ok(model.save_pretrained(&config(), folder)?)
}

#[allow(clippy::print_stdout, reason = "an example prints its results")]
fn main() -> Result<()> {
    let device = Device::flex();
    device.seed(1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (language, classifier) = (folder.path().join("language"), folder.path().join("classifier"));
    language_model(&language, &device)?;

    // A fresh classifier takes all weights that fit.
    let id2label = (0..).zip(CLASSES.map(String::from)).collect();
    let config = PerceiverConfig { id2label, ..config() };
    // Its decoder is another one; to start from a classifier of other labels, set
    // `ignore_mismatched_sizes`.
    let options = LoadOptions { partial: true, ..LoadOptions::default() };
    let loaded = PerceiverForSequenceClassification::from_pretrained_for(
        &language,
        &config,
        &device.clone().autodiff(),
        &options,
    )?;
    println!("{} parameters are fresh", loaded.report.fresh.len());
    let head = freeze_encoder(loaded.model);

    let tokenizer = PerceiverTokenizer::default();
    let batcher = TextBatcher::new(tokenizer.clone(), LENGTH, LENGTH);
    let training = LoaderBuilder::new(batcher.clone()).batch_size(8).shuffle(7).build(examples());
    let validation = LoaderBuilder::new(batcher).batch_size(8).build(examples());
    let companion = tokenizer.clone();
    let finished =
        TrainingRun::new(&classifier, SequenceClassification::new(head), training, validation)
            .steps(30)
            .validate_every(10)
            .learning_rate(1e-2)
            // transformers and the program `perceiver` load what this saves.
            .save_with(move |head, folder| {
                head.save_pretrained(&config, folder)?;
                Ok::<_, Error>(companion.save_pretrained(folder)?)
            })
            .train()?;
    let best = finished.best.expect("the run validates its last step");
    println!("loss {:.3} after {} steps", best.loss, best.step);

    let loaded = PerceiverForSequenceClassification::from_pretrained(&classifier, &device)?;
    let text = "where is the bread?";
    let ids = tokenizer.encode(text, &EncodeOptions::default())?.input_ids;
    let ids: Vec<i64> = ids.into_iter().map(i64::from).collect();
    let scores =
        loaded.model.forward(Tensor::<1, _>::from_data(ids.as_slice(), &device).unsqueeze::<2>());
    let class: i64 = scores.logits.argmax(1).into_scalar();
    println!("{text:?} is a {}", loaded.config.id2label[&class]);
    println!("{} parameters", loaded.model.num_params());
    Ok(())
}

#[test]
fn it_runs() -> Result<()> {
    main()
}
