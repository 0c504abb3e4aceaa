//! Trains a model for any data, once the training part has completed its configuration.

use perceiver_data::{Record, Source};
use perceiver_models::PerceiverConfig;
use perceiver_models::any_data::{AnyDataConfig, Output};

use super::{Batchers, Session};
use crate::any_data::{AnyDataBatcher, EncodedRecord, EncodedRecords, RecordEncoder, learned};
use crate::recipe::Recipe;
use crate::recipe::sources::{BoxedSource, Parts};
use crate::{AnyDataTraining, Finished, Result};

impl Session<'_> {
    pub(super) fn any_data(&self, parts: Parts<Record>) -> Result<Finished> {
        let config = self.recipe.any_data_config(&*parts.train)?;
        let encoder = RecordEncoder::new(&config)?;
        let encoded = |source| -> BoxedSource<EncodedRecord> {
            Box::new(EncodedRecords::new(source, encoder.clone()))
        };
        let parts = Parts { train: encoded(parts.train), validation: encoded(parts.validation) };
        let batcher = AnyDataBatcher { config: encoder.config().clone() };
        let batchers = Batchers { train: batcher.clone(), validation: batcher };
        let objective = AnyDataTraining::new(self.head(&config)?);
        self.run(objective, config, parts, batchers, |_| Ok(()))
    }
}

impl Recipe {
    /// The configuration of a model for any data, completed by the records to train on.
    ///
    /// # Errors
    /// [`Error::Recipe`] if no such model can be built, or it cannot take the records.
    fn any_data_config(&self, records: &dyn Source<Example = Record>) -> Result<PerceiverConfig> {
        let mut fields =
            serde_json::to_value(&self.settings.model).map_err(|error| self.refused(&error))?;
        let given = AnyDataConfig::FIELDS
            .into_iter()
            .filter_map(|name| fields.get(name).map(|value| (name, value.clone())));
        let config = given.fold(PerceiverConfig::default(), |config, (name, value)| {
            config.with_field(name, value)
        });
        let mut any_data = AnyDataConfig::read(&config).map_err(|error| self.refused(&error))?;
        let class_names =
            learned(&mut any_data, records).map_err(|reason| self.refused(&reason))?;
        fields.as_object_mut().into_iter().for_each(|fields| {
            // The reference's default gives queries and keys as many channels as a token has, which
            // heads rarely divide.
            let shape = "cross_attention_shape_for_attention".to_owned();
            fields.entry(shape).or_insert_with(|| "q".into());
            fields.extend(any_data.write(PerceiverConfig::default()).extra);
        });
        let classifies =
            !matches!(any_data.output, Output::Regression { .. } | Output::Reconstruction { .. });
        self.config_of(fields, if classifies { &class_names } else { &[] })
    }
}
