//! A Perceiver over points.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use perceiver_train::models::{
    BasicDecoder, BasicDecoderConfig, Decoded, Decoder, Encoded, Error, FourierPositionEncoding,
    NoPostprocessor, PerceiverConfig, PerceiverHead, PerceiverModel, PositionConfig, Preprocessed,
    Preprocessor, QueryConfig, Request, TokenArray,
};

use crate::SHAPES;

/// Turns points into tokens: their distances from the origin, and Fourier features of their
/// coordinates.
#[derive(Module, Debug)]
pub struct PointPreprocessor {
    positions: FourierPositionEncoding,
}

impl Preprocessor for PointPreprocessor {
    /// `[batch, points, dims]`.
    type Input = Tensor<3>;

    fn channels(&self) -> usize {
        1 + self.positions.channels()
    }

    /// # Panics
    /// If there are no points, or they have another number of coordinates.
    fn forward(&self, points: Tensor<3>) -> Preprocessed {
        let [_, count, _] = points.dims();
        assert!(count > 0, "a cloud has 0 points, expected 1 or more");
        let distances = points.clone().square().sum_dim(2).sqrt();
        Preprocessed::with_positions(distances, self.positions.encode(points))
    }
}

/// Asks the latents once for each shape. Each answer is a score.
#[derive(Module, Debug)]
pub struct ShapeDecoder {
    decoder: BasicDecoder,
}

impl ShapeDecoder {
    fn new(config: &PerceiverConfig, device: &Device) -> Self {
        let channels = config.d_latents;
        let queries = QueryConfig {
            positions: PositionConfig::trainable(SHAPES.len(), channels),
            index_dims: vec![SHAPES.len()],
            concat_preprocessed_input: false,
        };
        let decoder = BasicDecoderConfig {
            queries: Some(queries),
            layer: config.decoder_layer(channels),
            output_channels: Some(1),
        };
        Self { decoder: decoder.init(config.initialisation(), device) }
    }
}

impl Decoder for ShapeDecoder {
    type Points = ();
    type Queries = TokenArray;
    /// `[batch, shapes]`.
    type Output = Tensor<2>;

    fn queries(&self, inputs: &Preprocessed, (): &()) -> TokenArray {
        self.decoder.queries(inputs, &None)
    }

    fn sizes(&self, queries: &TokenArray) -> Vec<usize> {
        self.decoder.sizes(queries)
    }

    fn forward(
        &self,
        queries: &TokenArray,
        latents: Tensor<3>,
        attentions: bool,
    ) -> Decoded<Tensor<2>> {
        let decoded = self.decoder.decode(queries, latents, attentions);
        let logits = decoded.logits.squeeze_dim(2);
        Decoded { logits, cross_attentions: decoded.cross_attentions }
    }
}

/// Scores the shapes of clouds.
#[derive(Module, Debug)]
pub struct PointClassifier {
    perceiver: PerceiverModel<PointPreprocessor, ShapeDecoder>,
}

impl PerceiverHead for PointClassifier {
    const NAME: &'static str = "PointClassifier";

    type Input = Tensor<3>;
    type Labels = ();
    type Points = ();
    /// `[batch, shapes]`.
    type Output = Tensor<2>;

    fn from_config(config: &PerceiverConfig, device: &Device) -> Result<Self, Error> {
        let (dims, bands): (usize, usize) = (config.field("dims")?, config.field("bands")?);
        let positions = FourierPositionEncoding::new(bands, &vec![4; dims]);
        let preprocessor = PointPreprocessor { positions };
        config.validate_encoder(preprocessor.channels())?;
        let decoder = ShapeDecoder::new(config, device);
        let perceiver = PerceiverModel::new(config, preprocessor, decoder, NoPostprocessor, device);
        Ok(Self { perceiver })
    }

    fn encode(&self, request: impl Into<Request<Tensor<3>>>) -> Encoded {
        self.perceiver.encode(request)
    }

    fn forward(&self, request: impl Into<Request<Tensor<3>>>) -> Tensor<2> {
        self.perceiver.forward(request).logits
    }
}

/// A small classifier of three-dimensional points.
#[must_use]
pub fn config() -> PerceiverConfig {
    let config = PerceiverConfig {
        num_latents: 4,
        d_latents: 16,
        num_self_attends_per_block: 1,
        num_self_attention_heads: 2,
        num_cross_attention_heads: 1,
        attention_probs_dropout_prob: 0.1,
        initializer_range: 0.2,
        ..PerceiverConfig::default()
    };
    config.with_field("dims", 3).with_field("bands", 2)
}
