//! A head of your own: classifies gestures by the readings of six sensors over time.
//!
//!     cargo run -p perceiver-models --example custom_head
//!
//! It has its own input, its own name and its own field in config.json, and it loads and saves as
//! the heads of this crate do.

use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use perceiver_models::losses::{Labels, classification_loss};
use perceiver_models::{
    ClassificationDecoder, Encoded, Error, NoPostprocessor, PerceiverClassifierOutput,
    PerceiverConfig, PerceiverHead, PerceiverModel, PositionConfig, PositionEncoding, Preprocessed,
    Preprocessor, Request,
};

/// Makes a token of each time step: the readings beside Fourier features of the time.
#[derive(Module, Debug)]
struct Readings {
    sensors: usize,
    positions: PositionEncoding,
}

impl Preprocessor for Readings {
    /// `[batch, steps, sensors]`.
    type Input = Tensor<3>;

    fn channels(&self) -> usize {
        self.sensors + self.positions.channels()
    }

    fn forward(&self, readings: Tensor<3>) -> Preprocessed {
        let [_, steps, _] = readings.dims();
        let positions = self.positions.grid(&[steps], &readings.device());
        Preprocessed::with_shared_positions(readings, positions)
    }
}

/// Readings in, a score for each gesture out.
#[derive(Module, Debug)]
struct GestureClassifier {
    perceiver: PerceiverModel<Readings, ClassificationDecoder>,
}

impl PerceiverHead for GestureClassifier {
    const NAME: &'static str = "GestureClassifier";

    type Input = Tensor<3>;
    type Labels = Labels;
    type Points = ();
    type Output = PerceiverClassifierOutput<Tensor<2>>;

    fn from_config(config: &PerceiverConfig, device: &Device) -> Result<Self, Error> {
        let sensors: usize = config.field("sensors")?;
        let positions = PositionConfig::fourier(8, &[64]);
        config.validate_encoder(sensors + positions.channels())?;

        let init = config.initialisation();
        let preprocessor = Readings { sensors, positions: positions.init(init, device) };
        let decoder = config.classification_decoder().init(init, device);
        let perceiver = PerceiverModel::new(config, preprocessor, decoder, NoPostprocessor, device);
        Ok(Self { perceiver })
    }

    fn encode(&self, request: impl Into<Request<Tensor<3>, Labels>>) -> Encoded {
        self.perceiver.encode(request.into().split_labels().0)
    }

    fn forward(&self, request: impl Into<Request<Tensor<3>, Labels>>) -> Self::Output {
        let (request, labels) = request.into().split_labels();
        let output = self.perceiver.forward(request);
        let loss = labels.map(|labels| classification_loss(output.logits.clone(), &labels, None));
        PerceiverClassifierOutput::new(output, loss)
    }
}

#[allow(clippy::print_stdout, reason = "an example prints its results")]
fn main() -> Result<(), Error> {
    let device = Device::flex();
    let gestures = ["wave", "push", "turn"];
    let config = PerceiverConfig {
        num_latents: 8,
        d_latents: 32,
        num_self_attends_per_block: 2,
        num_cross_attention_heads: 1,
        id2label: (0..).zip(gestures.map(String::from)).collect(),
        ..PerceiverConfig::default()
    };
    let config = config.with_field("sensors", 6);
    let head = GestureClassifier::from_config(&config, &device)?;

    // Two recordings of 50 steps, and what they show.
    let readings = Tensor::<3>::random([2, 50, 6], Distribution::Default, &device);
    let labels = Labels::Classes(Tensor::from_data([0, 2], &device));
    let output = head.forward(Request::new(readings.clone()).labels(labels));
    println!("scores: {}", output.logits.into_data());
    let loss: f32 = output.loss.expect("the request has labels").into_scalar();
    println!("loss: {loss}");

    // Save the head, and load it by its own name.
    let folder = tempfile::tempdir().expect("a temporary folder");
    head.save_pretrained(&config, folder.path())?;
    let loaded = GestureClassifier::from_pretrained(folder.path(), &device)?;
    let difference = loaded.model.forward(readings.clone()).logits - head.forward(readings).logits;
    let largest: f32 = difference.abs().max().into_scalar();
    println!("largest difference after loading: {largest}");
    Ok(())
}

#[test]
fn it_runs() -> Result<(), Error> {
    main()
}
