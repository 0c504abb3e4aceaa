//! Optical flow beside simple methods.

use anyhow::{Result, bail};
use perceiver_data::Source;
use perceiver_data::flow::FlowPair;
use perceiver_pipelines::{OpticalFlow, Progress};
use perceiver_train::{FlowEvaluation, FlowSums, Metric, validation_random};
use serde_json::{Value, json};

use crate::output::{chain, grouped, table};
use crate::progress::Bar;

/// Runs the model on all pairs. Also returns why pairs could not be measured.
pub(super) fn measure(
    pipeline: &OpticalFlow,
    pairs: &dyn Source<Example = FlowPair>,
    bar: &mut Bar,
) -> (FlowEvaluation, Vec<String>) {
    let mut evaluation = FlowEvaluation::default();
    let mut skipped = pairs.remarks().left_out;
    for index in 0..pairs.len() {
        bar.at(Progress { done: index, total: pairs.len() });
        if let Err(error) = add(pipeline, pairs, index, &mut evaluation) {
            skipped.push(format!("pair {}: {}", index + 1, chain(&error)));
        }
    }
    (evaluation, skipped)
}

/// Runs the model on a pair.
fn add(
    pipeline: &OpticalFlow,
    pairs: &dyn Source<Example = FlowPair>,
    index: usize,
    evaluation: &mut FlowEvaluation,
) -> Result<()> {
    let pair = pairs.example(index, &mut validation_random(index))?;
    if !pair.valid.iter().any(|&known| known) {
        bail!("no pixel's flow is known");
    }
    let found = pipeline.run(&pair.first, &pair.second)?;
    evaluation.add(pair, &found);
    Ok(())
}

pub(super) fn as_json(evaluation: &FlowEvaluation, skipped: usize) -> Value {
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
        "skipped": skipped,
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
