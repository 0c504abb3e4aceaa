//! Data of any kind: from raw records to a model's batches, and from its output to answers.

mod batch;
mod encode;
mod learn;
mod predictor;
mod scale;

pub use batch::AnyDataBatch;
pub(crate) use batch::AnyDataBatcher;
pub(crate) use encode::{EncodedRecord, EncodedRecords, RecordEncoder};
pub(crate) use learn::learned;
pub use predictor::{Answer, Predictor};
