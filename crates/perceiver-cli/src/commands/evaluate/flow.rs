//! Optical flow beside simple methods.

use anyhow::Result;
use perceiver_data::Source;
use perceiver_data::flow::FlowPair;
use perceiver_pipelines::{OpticalFlow, Progress};
use perceiver_train::{FlowEvaluation, FlowSums, Metric, validation_random};
use serde_json::{Value, json};

use crate::batch::Batch;
use crate::output::{grouped, table};
use crate::progress::Bar;

/// Runs the model on all pairs.
pub(super) fn measure(
    pipeline: &OpticalFlow,
    pairs: &dyn Source<Example = FlowPair>,
    bar: &mut Bar,
    batch: &mut Batch,
) -> Result<FlowEvaluation> {
    let mut evaluation = FlowEvaluation::default();
    for index in 0..pairs.len() {
        bar.at(Progress { done: index, total: pairs.len() });
        batch.run(&format!("pair {}", index + 1), || {
            let pair = pairs.example(index, &mut validation_random(index))?;
            let found = pipeline.run(&pair.first, &pair.second)?;
            evaluation.add(pair, &found);
            Ok(())
        })?;
    }
    Ok(evaluation)
}

pub(super) fn as_json(evaluation: &FlowEvaluation) -> Value {
    let errors = |sums: &FlowSums| {
        json!({
            Metric::END_POINT_ERROR.name: sums.end_point_error(),
            Metric::FLOW_OUTLIERS.name: sums.outliers(),
        })
    };
    let FlowEvaluation { pairs, model, zero_flow, global_shift } = evaluation;
    let each = pairs.iter().map(
        |[model, zero, shift]| json!({ "model": model, "zero_flow": zero, "global_shift": shift }),
    );
    json!({
        "examples": pairs.len(),
        "known_pixels": model.pixels,
        "measures": errors(model),
        "zero_flow": errors(zero_flow),
        "global_shift": errors(global_shift),
        "end_point_errors": each.collect::<Vec<_>>(),
    })
}

pub(super) fn as_text(evaluation: &FlowEvaluation) -> String {
    let FlowEvaluation { pairs, model, zero_flow, global_shift } = evaluation;
    let names = ["".to_owned(), "EPE".to_owned(), "Fl-all".to_owned()];
    let methods = [("model", model), ("zero flow", zero_flow), ("global shift", global_shift)];
    let rows = methods.map(|(name, sums)| {
        let (distance, outliers) = (sums.end_point_error(), sums.outliers());
        [name.to_owned(), format!("{distance:.3} px"), format!("{outliers:.2} %")]
    });
    let rows: Vec<_> = std::iter::once(names).chain(rows).collect();
    let (pairs, pixels) = (grouped(pairs.len()), grouped(model.pixels));
    format!("{pairs} pairs, {pixels} known pixels\n{}", table(&rows))
}
