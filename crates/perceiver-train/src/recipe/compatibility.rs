//! Checks that the `[model]` of a recipe can take its `[data]`.

use std::path::{Path, PathBuf};

use perceiver_models::any_data::{AnyDataConfig, Output};
use perceiver_models::{
    Head, PerceiverConfig, PerceiverForImageClassificationConvProcessing, ProblemType,
};

use super::data::{Data, VideosData};

/// Finds a contradiction between the two.
pub(super) fn check(head: Head, config: &PerceiverConfig, data: &Data) -> Result<(), String> {
    match head {
        Head::ImageClassificationLearned => learned_size(config, data),
        Head::ImageClassificationConvProcessing => convolved_size(config, data),
        Head::SequenceClassification => labels(config, data),
        Head::MultimodalAutoencoding => clip_shape(config),
        Head::AnyData => targets(config, data),
        _ => Ok(()),
    }
}

/// Learned positions fit images of one size.
fn learned_size(config: &PerceiverConfig, data: &Data) -> Result<(), String> {
    let expected = config.image_size.height_width();
    match data.image_size() {
        Some(found) if found != expected => Err(format!(
            "`data.images.size` is {found:?}, expected the {expected:?} of `model.image_size`"
        )),
        _ => Ok(()),
    }
}

/// The convolution and the pooling after it leave nothing of smaller images.
fn convolved_size(config: &PerceiverConfig, data: &Data) -> Result<(), String> {
    let tokens = PerceiverForImageClassificationConvProcessing::preprocessor_config(config);
    match data.image_size() {
        Some(found) if tokens.token_grid(found).is_none() => {
            let smallest = (1..).find(|side| tokens.token_grid([*side; 2]).is_some()).unwrap_or(1);
            Err(format!(
                "`data.images.size` is {found:?}, expected {smallest} or more for the convolution"
            ))
        }
        _ => Ok(()),
    }
}

/// A column of names holds one class of several, columns of numbers hold anything else.
fn labels(config: &PerceiverConfig, data: &Data) -> Result<(), String> {
    let (Data::TextTable(data), Some(problem)) = (data, config.problem_type) else {
        return Ok(());
    };
    let is_one_class = problem == ProblemType::SingleLabelClassification;
    let (column, expected) = match (data.label.is_some(), is_one_class) {
        (true, false) => ("label", "single_label_classification"),
        (false, true) => ("values", "regression or multi_label_classification"),
        _ => return Ok(()),
    };
    Err(format!("`model.problem_type` does not fit `data.{column}`, expected {expected}"))
}

/// A regression predicts the numbers of the data's columns, in their order.
pub(crate) fn targets(config: &PerceiverConfig, data: &Data) -> Result<(), String> {
    let values = match data {
        Data::Table(data) => &data.values,
        Data::Series(data) => &data.values,
        _ => return Ok(()),
    };
    let output = AnyDataConfig::read(config).map_err(|error| error.to_string())?.output;
    match (&output, values) {
        (Output::Regression { targets, .. }, Some(values)) if targets == values => Ok(()),
        (Output::Regression { .. }, _) => {
            Err("`model.output.targets` are not `data.values`, expected the same names".into())
        }
        (output, Some(_)) => {
            let kind = output.kind();
            Err(format!("`data.values` are numbers, `model.output` is {kind}, expected regression"))
        }
        _ => Ok(()),
    }
}

/// Clips are squares with whole patches of sound, and the output has their shape.
fn clip_shape(config: &PerceiverConfig) -> Result<(), String> {
    let found = &config.output_shape[1..];
    let expected = [config.num_frames, found[1], found[1]];
    if *found != expected {
        return Err(format!(
            "`model.output_shape` ends in {found:?}, expected {expected:?}: as many frames as \
             `model.num_frames`, and squares"
        ));
    }
    let samples = config.num_frames * config.audio_samples_per_frame;
    let patch = config.samples_per_patch;
    if !samples.is_multiple_of(patch) {
        return Err(format!(
            "`model.samples_per_patch` is {patch}, expected a divisor of a clip's {samples} samples"
        ));
    }
    Ok(())
}

impl VideosData {
    /// The videos, each with its class if they have any.
    ///
    /// # Errors
    /// If the model has fewer classes.
    pub(crate) fn labelled(&self, classes: usize) -> Result<Vec<(&Path, Option<usize>)>, String> {
        if let Some(label) = self.labels.iter().find(|label| **label >= classes) {
            return Err(format!("`data.labels` holds {label}, the model has {classes} classes"));
        }
        let labels = self.labels.iter().copied().map(Some).chain(std::iter::repeat(None));
        Ok(self.files.iter().map(PathBuf::as_path).zip(labels).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use crate::recipe::Recipe;

    /// Checks a recipe of this head, `[model]` and `[data]`.
    fn checked(architecture: &str, model: &str, data: &str) -> Result<(), String> {
        let text = format!(
            "name = \"a\"\narchitecture = \"{architecture}\"\n[model]\n\
             num_cross_attention_heads = 1\n{model}\n\
             [optimiser]\nname = \"adam-w\"\nlearning_rate = 0.001\n\
             [run]\nsteps = 1\nbatch_size = 1\nvalidate_every = 1\n[data]\n{data}\n"
        );
        let recipe = Recipe::parse("recipe.toml".as_ref(), text).unwrap();
        recipe.config(&[]).map(drop).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn assert_refused(found: Result<(), String>, expected: &str) {
        assert_eq!(found, Err(format!("recipe.toml: {expected}")));
    }

    #[test]
    fn images_have_the_size_of_learned_positions() {
        let sized = |model, side| {
            let data = format!(
                "kind = \"image-folder\"\ntrain = \"a\"\nvalidation = \"b\"\n\
                 images = {{ size = [28, {side}] }}"
            );
            checked("PerceiverForImageClassificationLearned", model, &data)
        };
        assert_eq!(sized("image_size = 28", 28), Ok(()));
        let expected =
            "`data.images.size` is [28, 28], expected the [56, 56] of `model.image_size`";
        assert_refused(sized("", 28), expected);
        let expected =
            "`data.images.size` is [28, 14], expected the [28, 28] of `model.image_size`";
        assert_refused(sized("image_size = 28", 14), expected);
    }

    #[test]
    fn images_are_large_enough_for_the_convolution() {
        let sized = |side| {
            let data = format!(
                "kind = \"image-folder\"\ntrain = \"a\"\nvalidation = \"b\"\n\
                 images = {{ size = [9, {side}] }}"
            );
            checked("PerceiverForImageClassificationConvProcessing", "", &data)
        };
        assert_eq!(sized(5), Ok(()));
        let expected = "`data.images.size` is [9, 4], expected 5 or more for the convolution";
        assert_refused(sized(4), expected);
    }

    #[test]
    fn labels_fit_the_problem_type() {
        let labelled = |problem, column| {
            let model = format!("problem_type = \"{problem}\"");
            let data = format!(
                "kind = \"text-table\"\ntrain = \"a\"\nvalidation = \"b\"\nlength = 8\n{column}"
            );
            checked("PerceiverForSequenceClassification", &model, &data)
        };
        let (label, values) = ("label = \"kind\"", "values = [\"a\", \"b\"]");
        assert_eq!(labelled("single_label_classification", label), Ok(()));
        assert_eq!(labelled("multi_label_classification", values), Ok(()));
        assert_eq!(labelled("regression", values), Ok(()));
        let expected = "`model.problem_type` does not fit `data.label`, expected \
                        single_label_classification";
        assert_refused(labelled("multi_label_classification", label), expected);
        assert_refused(labelled("regression", label), expected);
        let expected = "`model.problem_type` does not fit `data.values`, expected regression or \
                        multi_label_classification";
        assert_refused(labelled("single_label_classification", values), expected);
    }

    #[test]
    fn clips_come_out_as_they_go_in() {
        let shaped = |model| {
            let data = "kind = \"videos\"\nfiles = [\"a\"]\nheld_out_seconds = 1.0\n\
                        stride = 1\npixels = 1\nsound_patches = 1";
            checked("PerceiverForMultimodalAutoencoding", model, data)
        };
        assert_eq!(shaped(""), Ok(()));
        let ends = |found, expected| {
            format!(
                "`model.output_shape` ends in {found}, expected {expected}: as many frames as \
                 `model.num_frames`, and squares"
            )
        };
        assert_refused(shaped("num_frames = 8"), &ends("[16, 224, 224]", "[8, 224, 224]"));
        let wide = "output_shape = [1, 16, 32, 64]";
        assert_refused(shaped(wide), &ends("[16, 32, 64]", "[16, 32, 32]"));
        let expected = "`model.samples_per_patch` is 7, expected a divisor of a clip's 30720 \
                        samples";
        assert_refused(shaped("samples_per_patch = 7"), expected);
    }
}
