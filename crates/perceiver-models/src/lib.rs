#![doc = include_str!("../README.md")]

mod any;
mod checkpoint;
mod config;
mod error;
mod files;
mod foreign;
mod freeze;
mod head;
mod heads;
pub mod hub;
pub mod losses;
mod model;
mod named;
mod request;
mod source;

pub use any::AnyPerceiver;
pub use checkpoint::{
    Checkpoint, KeyMap, LoadOptions, LoadReport, MismatchedSize, NonFinite, SaveOptions,
    TensorInfo, load_module, quantisation, save_pretrained, write_tensors,
};
pub use config::{
    CONFIG_NAME, CrossAttentionShape, Head, ImageSize, PerceiverConfig, ProblemType, Quantisation,
};
pub use error::Error;
pub use files::temporary_prefix;
pub use freeze::freeze_encoder;
pub use head::{HeadRequest, PerceiverHead, Pretrained};
pub use heads::{
    PerceiverClassifierOutput, PerceiverForImageClassificationConvProcessing,
    PerceiverForImageClassificationFourier, PerceiverForImageClassificationLearned,
    PerceiverForMaskedLM, PerceiverForMultimodalAutoencoding, PerceiverForOpticalFlow,
    PerceiverForSequenceClassification, PerceiverMaskedLMOutput,
};
pub use model::{
    CrossAttentionMaps, Encoded, NoDecoder, NoPostprocessor, NoPreprocessor, PerceiverModel,
    PerceiverModelOutput,
};
pub use named::{ForwardOptions, NamedTensors};
#[doc(inline)]
pub use perceiver_core::{
    Activation, AnswerBlock, AnswerStream, AttentionConfig, AttentionMaps, Axis, Content,
    EncoderConfig, EncoderOutput, Grid, Initialisation, KeyMask, LayerConfig, LinearMap,
    OutputOptions, Positions, Segment, TokenArray, keep_freed_memory,
};
#[doc(inline)]
pub use perceiver_io::{
    AudioPostprocessor, AudioPreprocessor, AudioPreprocessorConfig, BasicDecoder,
    BasicDecoderConfig, BasicVideoAutoencodingDecoder, ClassificationDecoder,
    ClassificationDecoderConfig, ClassificationPostprocessor, Combination, Decoded, Decoder,
    EmbeddingDecoder, FourierPositionEncoding, ImageInput, ImagePreparation, ImagePreprocessor,
    ImagePreprocessorConfig, Modalities, MultimodalDecoder, MultimodalDecoderConfig,
    MultimodalInput, MultimodalOutput, MultimodalPostprocessor, MultimodalPreprocessor,
    MultimodalPreprocessorConfig, MultimodalQueryConfig, OneHotPreprocessor, OpticalFlowDecoder,
    OpticalFlowDecoderConfig, OutputPoints, Pixels, PositionConfig, PositionEncoding,
    PositionEncodingConfig, Postprocessor, Preprocessed, Preprocessor, ProjectionDecoder,
    ProjectionPostprocessor, QueryConfig, SubsampledPoints, TextPreprocessor,
    TextPreprocessorConfig,
};
pub use request::Request;
