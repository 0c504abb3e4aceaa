//! Classifiers, whose answers are counted by class.

use burn::tensor::{Device, Int, Tensor};
use perceiver_data::{
    LabelledImage, LabelledText, PerceiverImageProcessor, PerceiverTokenizer, Record, Remarks,
    Source,
};
use perceiver_models::losses::{IGNORED_LABEL, Labels};
use perceiver_models::{
    Head, HeadRequest, PerceiverForAnyData, PerceiverForSequenceClassification, PerceiverHead as _,
    Request,
};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::cut_texts::CutTexts;
use super::{Evaluation, Evaluator, explained, longest_text, measure};
use crate::any_data::{AnyDataBatcher, EncodedRecords, RecordEncoder};
use crate::objective::{any_data, image_classification, sequence_classification};
use crate::recipe::sources::BoxedSource;
use crate::report::Confusion;
use crate::{ImageBatcher, ImageClassifier, Result, TextBatcher};

impl Evaluator {
    pub(super) fn records(
        &self,
        source: BoxedSource<Record>,
        device: &Device,
        on_progress: &mut dyn FnMut(usize),
    ) -> Result<Evaluation> {
        let (head, report) = self.load::<PerceiverForAnyData>(device)?;
        let encoder = RecordEncoder::new(&self.config)?;
        let batcher = AnyDataBatcher { config: encoder.config().clone() };
        let loader = self.loader(EncodedRecords::new(source, encoder), batcher, device);
        let mut confusion = Confusion::default();
        let evaluation = measure(&loader, on_progress, |batch| {
            let (output, classified) = any_data::step(&head, batch);
            if let Some((scores, classes)) = classified {
                count(&mut confusion, &scores, classes);
            }
            Ok(output)
        });
        let evaluation = explained(evaluation, &report)?.warned(report.warnings());
        let confusion = (confusion.examples() > 0).then_some(confusion);
        Ok(Evaluation { confusion, ..evaluation })
    }

    pub(super) fn images<H: ImageClassifier>(
        &self,
        source: BoxedSource<LabelledImage>,
        device: &Device,
        on_progress: &mut dyn FnMut(usize),
    ) -> Result<Evaluation> {
        let (head, report) = self.load::<H>(device)?;
        let config = &self.config;
        let processor = PerceiverImageProcessor::from_pretrained(&self.folder)?;
        let collate = ImageBatcher {
            processor: processor.clone(),
            classes: config.num_labels(),
            label_smoothing: 0.0,
            mixed: false,
        };
        let has_one_size = self.head == Head::ImageClassificationLearned;
        let size = has_one_size.then(|| config.image_size.height_width().map(|side| side as u32));
        let loader = self.loader(Fitted::new(source, processor, size), collate, device);
        let mut confusion = Confusion::default();
        let evaluation = measure(&loader, on_progress, |batch| {
            let scores = head.forward(HeadRequest::<H>::new(batch.pixels.into())).logits;
            count(&mut confusion, &scores, batch.targets.clone().argmax(1).squeeze_dim(1));
            Ok(image_classification::compare(scores, batch.targets))
        });
        let evaluation = explained(evaluation, &report)?.warned(report.warnings());
        Ok(Evaluation { confusion: Some(confusion), ..evaluation })
    }

    pub(super) fn texts(
        &self,
        source: BoxedSource<LabelledText>,
        device: &Device,
        on_progress: &mut dyn FnMut(usize),
    ) -> Result<Evaluation> {
        let (head, report) = self.load::<PerceiverForSequenceClassification>(device)?;
        let tokenizer = PerceiverTokenizer::from_pretrained(&self.folder)?;
        let length = longest_text(&self.folder, &tokenizer, &self.config)?;
        let (source, cut) = CutTexts::new(source, tokenizer.clone(), length);
        let loader = self.loader(source, TextBatcher::new(tokenizer.clone(), length, 1), device);
        let mut confusion = Confusion::default();
        let evaluation = measure(&loader, on_progress, |batch| {
            self.check_ids(&batch.ids, &tokenizer)?;
            let scores = head.forward(Request::new(batch.ids).mask(batch.padding)).logits;
            if let Labels::Classes(classes) = &batch.labels {
                count(&mut confusion, &scores, classes.clone());
            }
            Ok(sequence_classification::compare(scores, batch.labels, head.problem_type()))
        });
        let evaluation = explained(evaluation, &report)?;
        let confusion = (confusion.examples() > 0).then_some(confusion);
        let mut warnings = report.warnings();
        warnings.extend(cut.warning(evaluation.examples, length));
        Ok(Evaluation { confusion, ..evaluation.warned(warnings) })
    }
}

/// Counts the answers of a batch, without those labelled [`IGNORED_LABEL`].
///
/// # Shapes
/// - `scores`: `[batch, classes]`
/// - `classes`: `[batch]`
fn count(confusion: &mut Confusion, scores: &Tensor<2>, classes: Tensor<1, Int>) {
    let [_, width] = scores.dims();
    let scores = scores.to_data().convert::<f32>();
    let scores: Vec<f32> = scores.iter().collect();
    for (scores, class) in scores.chunks_exact(width).zip(classes.into_data().iter::<i64>()) {
        if class == IGNORED_LABEL {
            continue;
        }
        let class = class as usize;
        let mut ranked: Vec<usize> = (0..width).collect();
        // As in the metrics, a score counts as higher if it equals the right class's or is NaN.
        ranked.sort_by(|&one, &other| {
            let order = scores[other].partial_cmp(&scores[one]);
            let order = order.unwrap_or_else(|| scores[other].is_nan().cmp(&scores[one].is_nan()));
            order.then((one == class).cmp(&(other == class)))
        });
        confusion.add(class, &ranked);
    }
}

/// Images of the size that the model takes, all of one size.
struct Fitted {
    source: BoxedSource<LabelledImage>,
    processor: PerceiverImageProcessor,
    /// Height and width; absent if no image can be read.
    size: Option<[u32; 2]>,
}

impl Fitted {
    /// Without a `size`, takes that of the first image that can be read.
    fn new(
        source: BoxedSource<LabelledImage>,
        processor: PerceiverImageProcessor,
        size: Option<[u32; 2]>,
    ) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let size = size.or_else(|| {
            let mut images = (0..source.len()).map(|index| source.example(index, &mut random));
            images.find_map(|example| {
                let image = processor.fit(&example.ok()?.image).ok()?;
                Some([image.height(), image.width()])
            })
        });
        Self { source, processor, size }
    }
}

impl Source for Fitted {
    type Example = LabelledImage;

    fn len(&self) -> usize {
        self.source.len()
    }

    fn example(
        &self,
        index: usize,
        random: &mut ChaCha8Rng,
    ) -> perceiver_data::Result<LabelledImage> {
        let LabelledImage { image, label } = self.source.example(index, random)?;
        let image = self.processor.fit(&image)?;
        let (width, height) = image.dimensions();
        match self.size {
            Some([rows, columns]) if [rows, columns] != [height, width] => {
                let reason = format!("after processing, expected {columns}x{rows}");
                Err(perceiver_data::Error::Preprocess { index, width, height, reason })
            }
            _ => Ok(LabelledImage { image, label }),
        }
    }

    fn remarks(&self) -> Remarks {
        self.source.remarks()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// The right score is the highest, equal to another, and beside NaN.
    #[test]
    fn an_answer_is_right_if_no_score_is_as_high() {
        let device = Device::flex();
        let rows = [[0.1, 0.7, 0.2], [0.7, 0.7, 0.1], [-2.0, -1.0, f32::NAN]];
        let (scores, classes) =
            (Tensor::from_floats(rows, &device), Tensor::from_ints([1, 1, 1], &device));
        let mut confusion = Confusion::default();
        count(&mut confusion, &scores, classes.clone());
        assert_eq!([0, 1, 2].map(|answer| confusion.count(1, answer)), [1, 1, 1]);
        let targets = classes.one_hot(3).float();
        let accuracy = &image_classification::compare(scores, targets).measures[0];
        assert_eq!(accuracy.total.clone().into_scalar::<f32>(), 1.0);
    }
}
