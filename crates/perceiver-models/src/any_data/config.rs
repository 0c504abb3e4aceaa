//! The fields of config.json that a [`PerceiverForAnyData`](crate::PerceiverForAnyData) adds.

use perceiver_core::{EncoderConfig, Repeats};
use serde_json::Value;

use super::{ModalityConfig, Output};
use crate::{Error, PerceiverConfig};

/// Inputs, output and encoder of a [`PerceiverForAnyData`](crate::PerceiverForAnyData).
///
/// The other sizes are the usual fields of a [`PerceiverConfig`], which this is read from.
#[derive(Debug, Clone, PartialEq)]
pub struct AnyDataConfig {
    /// The inputs, in the order of their tokens.
    pub modalities: Vec<ModalityConfig>,
    /// The output.
    pub output: Output,
    /// How the encoder repeats its layers: `num_cross_attention_layers`,
    /// `first_cross_attention_layer_shared` and `first_self_attention_block_shared`.
    pub repeats: Repeats,
}

impl AnyDataConfig {
    /// The names of the fields in config.json that this reads.
    pub const FIELDS: [&'static str; 5] = [
        "modalities",
        "output",
        "num_cross_attention_layers",
        "first_cross_attention_layer_shared",
        "first_self_attention_block_shared",
    ];

    /// Reads the fields, without checking their values.
    ///
    /// # Errors
    /// [`Error::Config`] naming a field that is absent or of another type.
    pub fn read(config: &PerceiverConfig) -> Result<Self, Error> {
        let usual = Repeats::default();
        let [modalities, output, crosses, first_cross, first_block] = Self::FIELDS;
        let given = |name: &str| config.extra.contains_key(name);
        let flag = |name, usual| if given(name) { config.field(name) } else { Ok(usual) };
        Ok(Self {
            modalities: config.field(modalities)?,
            output: config.field(output)?,
            repeats: Repeats {
                cross_attentions: match given(crosses) {
                    true => config.field(crosses)?,
                    false => usual.cross_attentions,
                },
                first_cross_attention_shared: flag(
                    first_cross,
                    usual.first_cross_attention_shared,
                )?,
                first_block_shared: flag(first_block, usual.first_block_shared)?,
            },
        })
    }

    /// The configuration with these fields in place of its own.
    #[must_use]
    pub fn write(&self, config: PerceiverConfig) -> PerceiverConfig {
        let [modalities, output, crosses, first_cross, first_block] = Self::FIELDS;
        let json = |value: Result<Value, _>| value.unwrap_or(Value::Null);
        config
            .with_field(modalities, json(serde_json::to_value(&self.modalities)))
            .with_field(output, json(serde_json::to_value(&self.output)))
            .with_field(crosses, self.repeats.cross_attentions)
            .with_field(first_cross, self.repeats.first_cross_attention_shared)
            .with_field(first_block, self.repeats.first_block_shared)
    }

    /// The modality of a name, with its place.
    #[must_use]
    pub fn modality(&self, name: &str) -> Option<(usize, &ModalityConfig)> {
        self.modalities.iter().enumerate().find(|(_, modality)| modality.name() == name)
    }

    /// Channels of a token: those of the widest modality, and one more if there are several, so
    /// that learned padding tells all of them apart.
    #[must_use]
    pub fn channels(&self) -> usize {
        let widest = self.modalities.iter().map(ModalityConfig::channels).max().unwrap_or(0);
        if self.modalities.len() > 1 { widest.saturating_add(1) } else { widest }
    }

    /// The encoder.
    #[must_use]
    pub fn encoder(&self, config: &PerceiverConfig) -> EncoderConfig {
        EncoderConfig { repeats: self.repeats, ..config.encoder(self.channels()) }
    }
}
