//! Logs, learning curves, confusions and model cards.

mod card;
mod confusion;
mod curve;
mod log;
mod picture;

pub use self::card::{CARD_NAME, CardData, CardModel, CardSettings};
pub(crate) use self::card::{ModelCard, TrainingSummary};
pub use self::confusion::Confusion;
pub use self::curve::{CURVE_NAME, learning_curve};
pub use self::log::{LOG_NAME, Log, Part, Record};

/// A count with separated thousands.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group));
    groups.collect::<Vec<_>>().join(",")
}
