use perceiver_models::PerceiverConfig;
use serde::Serialize;
use serde_json::Value;

use super::{Data, Optimiser, Recipe, Schedule};

/// The settings of a recipe that belong to saved states, with their defaults filled in. The run itself
/// knows those of `[run]`; steps, intervals, threads, the card and the name may change.
#[derive(Debug, Serialize)]
pub(super) struct TiedRecipe<'a> {
    architecture: &'a str,
    model: Value,
    data: &'a Data,
    optimiser: &'a Optimiser,
    schedule: &'a Schedule,
}

impl<'a> TiedRecipe<'a> {
    /// The settings of a recipe whose model has this configuration.
    pub(super) fn new(recipe: &'a Recipe, config: &PerceiverConfig) -> Self {
        let settings = &recipe.settings;
        // A configuration is written as valid JSON.
        let model = serde_json::from_str(&config.to_json()).unwrap_or_default();
        Self {
            architecture: &settings.architecture,
            model,
            data: &settings.data,
            optimiser: &settings.optimiser,
            schedule: &settings.schedule,
        }
    }
}
