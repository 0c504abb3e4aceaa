use serde::Deserialize;

use super::Recipe;
use crate::report::{CardData, CardResult, ModelCard, Record};

/// What a recipe says for people about the model that comes of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardSettings {
    /// What the model does, in a sentence or two.
    pub summary: String,
    /// What it must not be relied on for.
    pub limits: String,
    /// Licence of the weights, by the hub's name: `mit`.
    pub licence: String,
    /// What it is measured on.
    pub measured_on: String,
    /// What simple methods reach there, in the unit of the first measure.
    pub baseline: Option<String>,
    /// What it learns from.
    pub data: Vec<CardData>,
}

impl Recipe {
    /// The page of the model that a run made, where the recipe has a `[card]`.
    ///
    /// `parameters` is how many numbers were learned, `machine` on what.
    #[must_use]
    pub fn card(&self, best: &Record, parameters: usize, machine: &str) -> Option<ModelCard> {
        let card = self.settings.card.clone()?;
        let run = &self.settings.run;
        let minutes = best.seconds / 60.0;
        let training = format!(
            "{} of {} steps of {} examples in {minutes:.0} minutes on {machine}.",
            best.step,
            run.steps,
            run.batch_size * run.accumulation
        );
        let results = best.measures.iter().enumerate().map(|(index, (&quantity, &value))| {
            let baseline = if index == 0 { card.baseline.clone() } else { None };
            CardResult { quantity, data: card.measured_on.clone(), value, baseline }
        });
        Some(ModelCard {
            name: self.settings.name.clone(),
            summary: card.summary,
            limits: card.limits,
            head: self.head,
            parameters,
            licence: card.licence,
            data: card.data,
            recipe: self.text.clone(),
            training,
            results: results.collect(),
        })
    }
}
