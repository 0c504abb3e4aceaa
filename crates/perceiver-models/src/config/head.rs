use std::fmt;
use std::str::FromStr;

use super::PerceiverConfig;
use crate::Error;

/// The heads of the reference and one of this library's own, as `architectures` in config.json names
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Head {
    /// `PerceiverModel`: latents and encoder, without preprocessor or decoder.
    Model,
    /// `PerceiverForMaskedLM`.
    MaskedLm,
    /// `PerceiverForSequenceClassification`.
    SequenceClassification,
    /// `PerceiverForImageClassificationLearned`.
    ImageClassificationLearned,
    /// `PerceiverForImageClassificationFourier`.
    ImageClassificationFourier,
    /// `PerceiverForImageClassificationConvProcessing`.
    ImageClassificationConvProcessing,
    /// `PerceiverForOpticalFlow`.
    OpticalFlow,
    /// `PerceiverForMultimodalAutoencoding`.
    MultimodalAutoencoding,
    /// `PerceiverForAnyData`, which the reference does not have.
    AnyData,
}

impl Head {
    /// Every head with its name in `architectures`.
    pub const NAMES: [(&'static str, Self); 9] = [
        ("PerceiverModel", Self::Model),
        ("PerceiverForMaskedLM", Self::MaskedLm),
        ("PerceiverForSequenceClassification", Self::SequenceClassification),
        ("PerceiverForImageClassificationLearned", Self::ImageClassificationLearned),
        ("PerceiverForImageClassificationFourier", Self::ImageClassificationFourier),
        ("PerceiverForImageClassificationConvProcessing", Self::ImageClassificationConvProcessing),
        ("PerceiverForOpticalFlow", Self::OpticalFlow),
        ("PerceiverForMultimodalAutoencoding", Self::MultimodalAutoencoding),
        ("PerceiverForAnyData", Self::AnyData),
    ];

    /// If true, the head scores the classes of a text or an image.
    #[must_use]
    pub const fn is_classifier(self) -> bool {
        matches!(
            self,
            Self::SequenceClassification
                | Self::ImageClassificationLearned
                | Self::ImageClassificationFourier
                | Self::ImageClassificationConvProcessing
        )
    }

    /// The head's name in `architectures`.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }
}

impl PerceiverConfig {
    /// The first of `architectures` that is a known head.
    ///
    /// # Errors
    /// [`Error::Config`] listing the known heads if none is.
    pub fn head(&self) -> Result<Head, Error> {
        let known = self.architectures.iter().find_map(|name| name.parse().ok());
        match (known, self.architectures.first()) {
            (Some(head), _) => Ok(head),
            (None, Some(name)) => name.parse(),
            (None, None) => {
                let known = Head::NAMES.map(|(known, _)| known).join(", ");
                Err(Error::config("architectures", format!("is absent, expected one of {known}")))
            }
        }
    }

    /// The configuration of a model whose `architectures` is absent or empty, with the head that it
    /// is.
    ///
    /// # Errors
    /// [`Error::Config`] if `architectures` names other heads, or
    /// [`validate_for`](Self::validate_for) refuses this one.
    pub fn with_head(mut self, head: Head) -> Result<Self, Error> {
        if let Some(named) = self.architectures.first()
            && self.head().ok() != Some(head)
        {
            let named = super::parse::shown_name(named);
            return Err(Error::config("architectures", format!("names {named}, expected {head}")));
        }
        self.validate_for(head)?;
        self.architectures = vec![head.to_string()];
        Ok(self)
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Head {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|&(_, head)| head).ok_or_else(
            || {
                let known = Self::NAMES.map(|(known, _)| known).join(", ");
                let name = super::parse::shown_name(name);
                Error::config("architectures", format!("names {name}, expected one of {known}"))
            },
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_the_order_of_the_variants() {
        for (name, head) in Head::NAMES {
            assert_eq!(head.name(), name);
            assert_eq!(name.parse::<Head>().unwrap(), head);
        }
    }

    #[test]
    fn a_head_is_given_where_none_is_named() {
        let config = PerceiverConfig::default().with_head(Head::MaskedLm).unwrap();
        assert_eq!(config.architectures, ["PerceiverForMaskedLM"]);
        assert!(config.clone().with_head(Head::MaskedLm).is_ok());
        let other = PerceiverConfig {
            architectures: vec!["MyPerceiver".to_owned()],
            ..PerceiverConfig::default()
        };
        for (config, name) in [(config, "PerceiverForMaskedLM"), (other, "MyPerceiver")] {
            let error = config.with_head(Head::Model).unwrap_err().to_string();
            let expected = format!("names \"{name}\", expected PerceiverModel");
            assert!(error.contains(&expected), "{error}");
        }
        let square = PerceiverConfig { vocab_size: 0, ..PerceiverConfig::default() };
        assert!(square.with_head(Head::MaskedLm).unwrap_err().to_string().contains("vocab_size"));
    }

    #[test]
    fn an_unknown_head_lists_the_known_ones() {
        let message = "PerceiverForFoo".parse::<Head>().unwrap_err().to_string();
        assert!(message.contains("\"PerceiverForFoo\""), "{message}");
        assert!(Head::NAMES.iter().all(|(name, _)| message.contains(name)), "{message}");
    }
}
