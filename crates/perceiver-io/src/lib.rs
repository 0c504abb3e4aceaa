//! Inputs and outputs of Perceivers: preprocessors, position encodings, decoders and postprocessors.
//!
//! Data flows one way: a [`Preprocessor`] turns raw input into tokens with positions, the encoder
//! of `perceiver-core` reads them into latents, a [`Decoder`] queries the latents once per output
//! element, and a [`Postprocessor`] puts the answers into their final form. To add a modality,
//! implement one of these traits; the types of `perceiver-core` that they use are exported here.
//!
//! Shapes name their axes as [`perceiver_core`] does.

mod decoder;
mod modalities;
mod patches;
mod position;
mod postprocessor;
mod preprocessor;

pub use perceiver_core::{
    Activation, AnswerBlock, AnswerStream, AttentionConfig, Axis, Content, CrossAttentionLayer,
    Grid, Initialisation, KeyMask, LayerConfig, LinearMap, Positions, Segment, TokenArray,
};

pub use decoder::{
    BasicDecoder, BasicDecoderConfig, BasicVideoAutoencodingDecoder, ClassificationDecoder,
    ClassificationDecoderConfig, Decoded, Decoder, MultimodalDecoder, MultimodalDecoderConfig,
    MultimodalQueryConfig, OpticalFlowDecoder, OpticalFlowDecoderConfig, OutputPoints,
    ProjectionDecoder, QueryConfig, SubsampledPoints,
};
pub use modalities::Modalities;
pub use patches::space_to_depth;
pub use position::{
    Combination, FourierPositionEncoding, PositionConfig, PositionEncoding, PositionEncodingConfig,
    TrainablePositionEncoding, fourier_features, linear_positions,
};
pub use postprocessor::{
    AudioPostprocessor, ClassificationPostprocessor, EmbeddingDecoder, MultimodalOutput,
    MultimodalPostprocessor, Postprocessor, ProjectionPostprocessor,
};
pub use preprocessor::{
    AudioPreprocessor, AudioPreprocessorConfig, ImageInput, ImagePreparation, ImagePreprocessor,
    ImagePreprocessorConfig, MultimodalInput, MultimodalPreprocessor, MultimodalPreprocessorConfig,
    OneHotPreprocessor, Pixels, Preprocessed, Preprocessor, TextPreprocessor,
    TextPreprocessorConfig,
};

/// The README's example, compiled.
#[cfg(all(doctest, feature = "flex"))]
#[doc = include_str!("../README.md")]
struct Readme;
