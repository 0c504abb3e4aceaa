//! What stands around the Perceiver's core: inputs become tokens, latents become outputs.
//!
//! Data flows one way: a [`Preprocessor`] turns raw input into tokens with positions, the encoder
//! of `perceiver-core` reads them into latents, a [`Decoder`] asks the latents with one query per
//! output element, and a [`Postprocessor`] gives the answers their final form. A new modality is
//! one implementation of one of these traits.
//!
//! Axis names are those of [`perceiver_core`].

mod decoder;
mod modalities;
mod patches;
mod position;
mod postprocessor;
mod preprocessor;

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
    AudioPreprocessor, AudioPreprocessorConfig, Frames, ImageInput, ImagePreparation,
    ImagePreprocessor, ImagePreprocessorConfig, MultimodalInput, MultimodalPreprocessor,
    MultimodalPreprocessorConfig, OneHotPreprocessor, Preprocessed, Preprocessor, TextPreprocessor,
    TextPreprocessorConfig,
};

/// The README's example, compiled.
#[cfg(all(doctest, feature = "flex"))]
#[doc = include_str!("../README.md")]
struct Readme;
