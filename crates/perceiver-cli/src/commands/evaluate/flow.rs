//! Optical flow beside what a model has to beat.

use anyhow::Result;
use ndarray::Array3;
use perceiver_data::Source;
use perceiver_data::flow::{FlowErrors, FlowFile, FlowPair, flow_errors, global_shift};
use perceiver_pipelines::{OpticalFlow, Progress};
use perceiver_train::{Quantity, validation_random};
use serde_json::{Value, json};

use crate::batch::Batch;
use crate::output::{grouped, table};
use crate::progress::Bar;

/// Errors of a method over all pairs, every known pixel counting the same.
#[derive(Debug, Default)]
struct Sums {
    distance: f64,
    outliers: f64,
    pixels: usize,
}

/// The model's errors, and those of flow that is zero or the same everywhere.
#[derive(Debug, Default)]
pub(super) struct Methods {
    /// End-point errors of each pair: the model's, zero flow's and the shift's.
    pairs: Vec<[f64; 3]>,
    model: Sums,
    zero: Sums,
    shift: Sums,
}

impl Sums {
    /// Adds a pair and gives its end-point error.
    fn add(&mut self, flow: &Array3<f32>, truth: &FlowFile) -> f64 {
        let FlowErrors { end_point_error, outliers, pixels } = flow_errors(flow.view(), truth);
        // Without pixels the means are not numbers.
        if pixels > 0 {
            self.distance += end_point_error * pixels as f64;
            self.outliers += outliers * pixels as f64;
            self.pixels += pixels;
        }
        end_point_error
    }

    /// End-point error in pixels, and the share of outliers in percent.
    fn values(&self) -> [f64; 2] {
        let pixels = self.pixels as f64;
        [self.distance / pixels, 100.0 * self.outliers / pixels]
    }
}

impl Methods {
    pub(super) fn measure(
        pipeline: &OpticalFlow,
        pairs: &dyn Source<Example = FlowPair>,
        bar: &mut Bar,
        batch: &mut Batch,
    ) -> Result<Self> {
        let mut methods = Self::default();
        for index in 0..pairs.len() {
            bar.at(Progress { done: index, total: pairs.len() });
            batch.run(&format!("pair {}", index + 1), || {
                let mut random = validation_random(index);
                let FlowPair { first, second, flow, valid } = pairs.example(index, &mut random)?;
                let found = pipeline.run(&first, &second)?;
                let truth = FlowFile { flow, known: valid };
                let [x, y] = global_shift(&first, &second);
                let shift = Array3::from_shape_fn(
                    found.dim(),
                    |(_, _, axis)| if axis == 0 { x } else { y },
                );
                let zero = Array3::zeros(found.dim());
                methods.pairs.push([
                    methods.model.add(&found, &truth),
                    methods.zero.add(&zero, &truth),
                    methods.shift.add(&shift, &truth),
                ]);
                Ok(())
            })?;
        }
        Ok(methods)
    }

    fn rows(&self) -> [(&'static str, [f64; 2]); 3] {
        let Self { model, zero, shift, .. } = self;
        [("model", model), ("zero flow", zero), ("global shift", shift)]
            .map(|(name, sums)| (name, sums.values()))
    }

    pub(super) fn json(&self) -> Value {
        let [model, zero, shift] = self.rows().map(|(_, [distance, outliers])| {
            json!({
                Quantity::EndPointError.name(): distance,
                Quantity::FlowOutliers.name(): outliers,
            })
        });
        let pairs = self.pairs.iter().map(|[model, zero, shift]| {
            json!({ "model": model, "zero_flow": zero, "global_shift": shift })
        });
        json!({
            "examples": self.pairs.len(),
            "known_pixels": self.model.pixels,
            "measures": model,
            "zero_flow": zero,
            "global_shift": shift,
            "end_point_errors": pairs.collect::<Vec<_>>(),
        })
    }

    pub(super) fn text(&self) -> String {
        let names = ["".to_owned(), "EPE".to_owned(), "Fl-all".to_owned()];
        let rows = self.rows().map(|(name, [distance, outliers])| {
            [name.to_owned(), format!("{distance:.3} px"), format!("{outliers:.2} %")]
        });
        let rows: Vec<_> = std::iter::once(names).chain(rows).collect();
        let (pairs, pixels) = (grouped(self.pairs.len()), grouped(self.model.pixels));
        format!("{pairs} pairs, {pixels} known pixels\n{}", table(&rows))
    }
}
