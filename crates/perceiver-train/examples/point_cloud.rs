//! Classifies point clouds with a Perceiver of one's own: data, preprocessor, objective, training,
//! saving, loading and prediction.
//!
//!     cargo run --release -p perceiver-train --example point_cloud
//!
//! The run is in the system's folder for temporary files. Run the program again to continue a run that
//! was stopped; delete the folder to start afresh.

use std::path::Path;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Device, Int, Tensor, TensorData};
use perceiver_train::models::{
    ClassificationDecoder, FourierPositionEncoding, KeyMask, NoPostprocessor, PerceiverConfig,
    PerceiverModel, Preprocessed, Preprocessor, Request,
};
use perceiver_train::rand::{RngExt, SeedableRng};
use perceiver_train::report::Part;
use perceiver_train::{
    ChaCha8Rng, LoaderBuilder, Measure, Metric, Objective, Result, StepOutput, StopHandle,
    TrainingEvent, TrainingRun, load_weights,
};

const SHAPES: [&str; 2] = ["sphere", "cube"];

/// Points on the surface of a shape, with coordinates from -1 to 1, and the shape's index.
type Cloud = (Vec<[f32; 3]>, usize);

/// Makes a token of each point: its distance from the origin, and Fourier features of its coordinates.
#[derive(Module, Debug)]
struct Points {
    positions: FourierPositionEncoding,
}

impl Preprocessor for Points {
    /// `[batch, points, 3]`, from -1 to 1.
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
            // The heads have to divide the channels of a point, which are 28 here.
            num_cross_attention_heads: 1,
            // Small models learn faster from larger weights than the default of 0.02.
            initializer_range: 0.1,
            // The number of labels is the number of scores.
            id2label: (0..).zip(SHAPES.map(String::from)).collect(),
            ..PerceiverConfig::default()
        };
        let decoder = config.classification_decoder().init(config.initialisation(), device);
        // The highest of 4 frequencies tells apart points at a distance of 2 / 16.
        let points = Points { positions: FourierPositionEncoding::new(4, &[16; 3]) };
        Self { perceiver: PerceiverModel::new(&config, points, decoder, NoPostprocessor, device) }
    }

    /// `[batch, shapes]`.
    fn scores(&self, points: Request<Tensor<3>>) -> Tensor<2> {
        self.perceiver.forward(points).logits
    }
}

impl Objective for PointClassifier {
    type Head = Self;
    /// Points `[batch, points, 3]` with a mask of the padding, and shapes `[batch]`.
    type Batch = (Request<Tensor<3>>, Tensor<1, Int>);

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

/// Pads clouds to the size of the largest one, and hides the padding from the model.
fn batch(
    clouds: Vec<Cloud>,
    _random: &mut ChaCha8Rng,
    device: &Device,
) -> (Request<Tensor<3>>, Tensor<1, Int>) {
    let longest = clouds.iter().map(|(points, _)| points.len()).max().unwrap_or(0);
    let size = [clouds.len(), longest];
    let (mut coordinates, mut hidden, mut shapes) = (Vec::new(), Vec::new(), Vec::new());
    for (mut points, shape) in clouds {
        hidden.extend((0..longest).map(|index| index >= points.len()));
        points.resize(longest, [0.0; 3]);
        coordinates.extend(points.concat());
        shapes.push(shape as i64);
    }
    let points = Tensor::from_data(TensorData::new(coordinates, [size[0], longest, 3]), device);
    let hidden = Tensor::from_data(TensorData::new(hidden, size), device);
    let points = Request::new(points).mask(KeyMask::from_hidden(hidden));
    (points, Tensor::from_data(shapes.as_slice(), device))
}

/// Clouds of 24 to 40 random points.
fn clouds(count: usize, seed: u64) -> Vec<Cloud> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut cloud = |shape: usize| {
        let size = random.random_range(24..=40);
        let mut point = || {
            let [x, y, z] = [(); 3].map(|()| random.random_range(-1.0_f32..1.0));
            let radius = match SHAPES[shape] {
                "sphere" => (x * x + y * y + z * z).sqrt(),
                _ => x.abs().max(y.abs()).max(z.abs()),
            };
            [x / radius, y / radius, z / radius]
        };
        ((0..size).map(|_| point()).collect(), shape)
    };
    (0..count).map(|index| cloud(index % 2)).collect()
}

#[allow(clippy::print_stdout, reason = "an example prints its results")]
fn train(folder: &Path) -> Result<()> {
    let device = Device::flex();
    device.seed(1);
    let training = LoaderBuilder::new(batch).batch_size(16).shuffle(7).build(clouds(320, 1));
    let validation = LoaderBuilder::new(batch).batch_size(16).build(clouds(64, 2));

    // `stop()` may be called from any thread, such as that of a Ctrl-C handler.
    let stop = StopHandle::default();
    let handle = stop.clone();
    let finished = TrainingRun::new(folder, PointClassifier::new(&device), training, validation)
        .steps(60)
        .validate_every(20)
        .log_every(10)
        .learning_rate(3e-3)
        .resume(true)
        .stop_handle(&stop)
        .on_progress(move |event| {
            if let TrainingEvent::Logged(record) = event {
                println!("{record}");
                let accuracy = record.measures.get(&Metric::ACCURACY);
                if record.part == Part::Validation && accuracy == Some(100.0) {
                    handle.stop();
                }
            }
        })
        .train()?;
    if let Some(best) = finished.best {
        println!("best: {best}");
    }

    // The folder holds the best weights, the log, the learning curve and checkpoints.
    println!("{} holds the model", folder.display());
    let model = load_weights(PointClassifier::new(&device), folder)?;
    let (points, shapes) = batch(clouds(8, 3), &mut ChaCha8Rng::seed_from_u64(0), &device);
    let found: Vec<i64> = model.scores(points).argmax(1).into_data().iter().collect();
    let expected: Vec<i64> = shapes.into_data().iter().collect();
    for (found, expected) in found.into_iter().zip(expected) {
        println!("a {} is called a {}", SHAPES[expected as usize], SHAPES[found as usize]);
    }
    Ok(())
}

fn main() -> Result<()> {
    train(&std::env::temp_dir().join("perceiver-point-cloud"))
}

#[test]
fn it_runs() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("point-cloud-{}", std::process::id()));
    let result = train(&folder);
    std::fs::remove_dir_all(&folder).expect("the run made the folder");
    result
}
