//! Classifies point clouds with a Perceiver of one's own: data, preprocessor, objective, training,
//! saving, loading and prediction.
//!
//!     cargo run --release -p perceiver-train --example point_cloud

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Device, Int, Tensor, TensorData};
use perceiver_train::models::{
    ClassificationDecoder, FourierPositionEncoding, NoPostprocessor, PerceiverConfig,
    PerceiverModel, Preprocessed, Preprocessor,
};
use perceiver_train::rand::{RngExt, SeedableRng};
use perceiver_train::{
    ChaCha8Rng, LoaderBuilder, Measure, Metric, Objective, Result, StepOutput, TrainingEvent,
    TrainingRun, load_weights,
};

const SHAPES: [&str; 2] = ["sphere", "cube"];

/// Points on the surface of a shape, and the shape's index.
type Cloud = (Vec<[f32; 3]>, usize);

/// Makes a token of each point: its distance from the origin, and Fourier features of its coordinates.
#[derive(Module, Debug)]
struct Points {
    positions: FourierPositionEncoding,
}

impl Preprocessor for Points {
    /// `[batch, points, 3]`.
    type Input = Tensor<3>;

    fn channels(&self) -> usize {
        1 + self.positions.channels()
    }

    fn forward(&self, points: Tensor<3>) -> Preprocessed {
        let distances = points.clone().square().sum_dim(2).sqrt();
        Preprocessed::with_positions(distances, self.positions.encode(points))
    }
}

/// The model, with its loss.
#[derive(Module, Debug)]
struct PointClassifier {
    perceiver: PerceiverModel<Points, ClassificationDecoder>,
}

impl PointClassifier {
    fn new(device: &Device) -> Self {
        let config = PerceiverConfig {
            num_latents: 8,
            d_latents: 32,
            num_self_attends_per_block: 2,
            num_cross_attention_heads: 1,
            initializer_range: 0.1,
            id2label: (0..).zip(SHAPES.map(String::from)).collect(),
            ..PerceiverConfig::default()
        };
        let decoder = config.classification_decoder().init(config.initialisation(), device);
        let points = Points { positions: FourierPositionEncoding::new(4, &[16; 3]) };
        Self { perceiver: PerceiverModel::new(&config, points, decoder, NoPostprocessor, device) }
    }

    /// `[batch, shapes]`.
    fn scores(&self, points: Tensor<3>) -> Tensor<2> {
        self.perceiver.forward(points).logits
    }
}

impl Objective for PointClassifier {
    type Head = Self;
    /// Points `[batch, points, 3]`, and shapes `[batch]`.
    type Batch = (Tensor<3>, Tensor<1, Int>);

    fn head(&self) -> &Self {
        self
    }

    fn step(&self, (points, shapes): Self::Batch) -> StepOutput {
        let scores = self.scores(points);
        let correct = scores.clone().argmax(1).squeeze_dim::<1>(1).equal(shapes.clone());
        let loss = CrossEntropyLossConfig::new().init(&scores.device()).forward(scores, shapes);
        StepOutput::new(loss).with(Measure::mean(Metric::ACCURACY, correct.float()))
    }
}

fn batch(
    clouds: Vec<Cloud>,
    _random: &mut ChaCha8Rng,
    device: &Device,
) -> (Tensor<3>, Tensor<1, Int>) {
    let (points, shapes): (Vec<_>, Vec<_>) = clouds.into_iter().unzip();
    let size = [points.len(), points[0].len(), 3];
    let points = TensorData::new(points.concat().concat(), size);
    let shapes: Vec<i64> = shapes.into_iter().map(|shape| shape as i64).collect();
    (Tensor::from_data(points, device), Tensor::from_data(shapes.as_slice(), device))
}

/// 32 random points of each cloud.
fn clouds(count: usize, seed: u64) -> Vec<Cloud> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut point = |shape: usize| {
        let [x, y, z] = [(); 3].map(|()| random.random_range(-1.0_f32..1.0));
        let radius = match SHAPES[shape] {
            "sphere" => (x * x + y * y + z * z).sqrt(),
            _ => x.abs().max(y.abs()).max(z.abs()),
        };
        [x / radius, y / radius, z / radius]
    };
    (0..count).map(|index| ((0..32).map(|_| point(index % 2)).collect(), index % 2)).collect()
}

#[allow(clippy::print_stdout, reason = "an example prints its results")]
fn main() -> Result<()> {
    let device = Device::flex();
    device.seed(1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let training = LoaderBuilder::new(batch).batch_size(16).shuffle(7).build(clouds(320, 1));
    let validation = LoaderBuilder::new(batch).batch_size(16).build(clouds(64, 2));

    // Stop it and run it again: `resume(true)` continues after the last checkpoint.
    let model = PointClassifier::new(&device.clone().autodiff());
    TrainingRun::new(&folder, model, training, validation)
        .steps(60)
        .validate_every(20)
        .learning_rate(3e-3)
        .resume(true)
        .on_progress(|event| {
            if let TrainingEvent::Logged(record) = event {
                println!("step {} {}: loss {:.3}", record.step, record.part, record.loss);
            }
        })
        .train()?;

    // The folder holds the best weights, the log, the learning curve and checkpoints.
    let model = load_weights(PointClassifier::new(&device), &folder)?;
    let (points, shapes) = batch(clouds(8, 3), &mut ChaCha8Rng::seed_from_u64(0), &device);
    let found: Vec<i64> = model.scores(points).argmax(1).into_data().iter().collect();
    let expected: Vec<i64> = shapes.into_data().iter().collect();
    for (found, expected) in found.into_iter().zip(expected) {
        println!("a {} is called a {}", SHAPES[expected as usize], SHAPES[found as usize]);
    }
    Ok(())
}

#[test]
fn it_runs() -> Result<()> {
    main()
}
