//! Trains an image classifier in burn's own `Learner`, with burn's metrics.
//!
//!     cargo run --release -p perceiver-train --example train_in_burns_learner

use std::error::Error;
use std::sync::Arc;

use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use burn::train::metric::LossMetric;
use burn::train::{Learner, SupervisedTraining};
use perceiver_train::data::{LabelledImage, PerceiverImageProcessor, RgbImage};
use perceiver_train::models::{
    PerceiverConfig, PerceiverForImageClassificationFourier, PerceiverHead,
};
use perceiver_train::{
    AdamW, ImageBatcher, ImageClassification, LoaderBuilder, TrainingModel, UpdateRules, evaluate,
};

/// Images of one grey level: dark ones are of class 0, bright ones of class 1.
fn images(count: usize) -> Vec<LabelledImage> {
    let image = |index: usize| {
        let level = (index * 37 % 256) as u8;
        let image = RgbImage::from_pixel(8, 8, [level; 3].into());
        LabelledImage { image, label: usize::from(level >= 128) }
    };
    (0..count).map(image).collect()
}

#[allow(clippy::print_stdout, reason = "an example prints its results")]
fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::flex();
    let config = PerceiverConfig {
        num_latents: 4,
        d_latents: 16,
        d_model: 261,
        num_self_attends_per_block: 1,
        num_self_attention_heads: 2,
        num_cross_attention_heads: 1,
        initializer_range: 0.1,
        id2label: (0..).zip(["dark", "bright"].map(String::from)).collect(),
        ..PerceiverConfig::default()
    };
    let head =
        PerceiverForImageClassificationFourier::from_config(&config, &device.clone().autodiff())?;
    // What burn's learner lacks: clipping by the norm of all gradients, and averaged weights.
    let rules = UpdateRules { max_norm: Some(1.0), ..UpdateRules::default() };
    let model = TrainingModel::new(ImageClassification::new(head), rules);

    let batcher = ImageBatcher {
        processor: PerceiverImageProcessor::resizing(8, 8, [0.5; 3], [0.5; 3]),
        classes: 2,
        label_smoothing: 0.0,
        mixed: false,
    };
    let loader = || LoaderBuilder::new(batcher.clone()).batch_size(16).device(&device);
    let training = Arc::new(loader().shuffle(7).build(images(96)));
    let validation = Arc::new(loader().build(images(32)));

    let (epochs, steps_per_epoch) = (3, 6);
    let rate = CosineAnnealingLrSchedulerConfig::new(1e-2, epochs * steps_per_epoch).init()?;
    let learner = Learner::new(model, ModuleOptimizer::from(AdamW::default()), rate);
    let folder = tempfile::tempdir()?;
    let trained = SupervisedTraining::new(&folder, training, validation)
        .metrics((LossMetric::new(),))
        .num_epochs(epochs)
        .launch(learner)
        .model;

    let evaluation = evaluate(trained.learned(), &loader().build(images(32)))?;
    for (metric, value) in evaluation.measures.iter() {
        println!("{}: {value:.1} {}", metric.name, metric.unit);
    }
    Ok(())
}

#[test]
fn it_runs() -> Result<(), Box<dyn Error>> {
    main()
}
