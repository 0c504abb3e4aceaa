//! Every part gives the numbers of the reference, on every compiled backend.
//!
//! Each file under `fixtures/parts` holds a part that transformers built, initialised and ran
//! (`generate/parts.py`). The test builds the part from the same arguments, loads its weights through the
//! checkpoint loader, which must use all of them, and compares its outputs.

#![allow(clippy::print_stdout, reason = "the test prints the difference of each part")]

mod arguments;
mod case;
mod decoders;
mod functions;
mod models;
mod output;
mod postprocessors;
mod preprocessors;

use std::panic::{self, AssertUnwindSafe};

use burn::tensor::{Device, TensorData};
use perceiver_models::NamedTensors;
use perceiver_tests::{TOLERANCE, compare, devices};

use crate::case::{Case, cases};

/// Files whose parts have no counterpart here, and the reasons.
const WITHOUT_COUNTERPART: [(&str, &str); 1] =
    [("layer_self_masked", "latents are never masked, and always added to what they attend to")];

/// Number of files, so that none goes missing.
const CASES: usize = 83;

fn run(case: &Case, attentions: bool, device: &Device) -> Result<NamedTensors, String> {
    let part = case.part();
    if part == "PerceiverModel" {
        models::run(case, attentions, device)
    } else if part.ends_with("Preprocessor") {
        preprocessors::run(case, device)
    } else if part.ends_with("Postprocessor") || part == "PerceiverEmbeddingDecoder" {
        postprocessors::run(case, device)
    } else if part.ends_with("Decoder") {
        decoders::run(case, attentions, device)
    } else {
        functions::run(case, attentions, device)
    }
}

fn comparable_cases() -> Vec<Case> {
    let mut cases = cases();
    assert_eq!(cases.len(), CASES, "files of fixtures/parts");
    cases.retain(|case| WITHOUT_COUNTERPART.iter().all(|(name, _)| *name != case.name));
    assert_eq!(cases.len(), CASES - WITHOUT_COUNTERPART.len(), "all exceptions are files");
    cases
}

/// The outputs of the reference, except those that are deliberately not followed.
fn expected(case: &Case) -> NamedTensors {
    let mut expected = case.outputs.clone();
    if case.part() == "generate_fourier_features" {
        let features = expected.get_mut("result").expect("features");
        *features = first_example(features);
    }
    expected
}

/// The features of the first example, with or without a batch axis.
fn first_example(features: &TensorData) -> TensorData {
    let [.., positions, channels] = features.shape()[..] else { panic!("two axes at least") };
    let values = features.iter::<f32>().take(positions * channels).collect();
    TensorData::new(values, [positions, channels])
}

/// Runs the cases and fails with a list of all differences.
fn assert_parity(cases: &[(Case, NamedTensors)], attentions: bool) {
    for (device_name, device) in devices() {
        let mut failures = Vec::new();
        for (case, expected) in cases {
            let run = AssertUnwindSafe(|| run(case, attentions, &device));
            match panic::catch_unwind(run).unwrap_or_else(|_| Err("panicked, see above".into())) {
                Err(message) => failures.push(format!("{}: {message}", case.name)),
                Ok(found) => {
                    let (differences, largest) = compare(&found, expected, TOLERANCE);
                    println!("{device_name} {} {largest:.1e}", case.name);
                    failures.extend(differences.iter().map(|d| format!("{}: {d}", case.name)));
                }
            }
        }
        assert!(failures.is_empty(), "on {device_name}:\n{}", failures.join("\n"));
    }
}

#[test]
fn every_part_matches_the_reference() {
    let cases: Vec<_> = comparable_cases()
        .into_iter()
        .map(|case| {
            let expected = expected(&case);
            (case, expected)
        })
        .collect();
    assert_parity(&cases, true);
}

/// Without attention maps, the layers take another path.
#[test]
fn attention_without_maps_gives_the_same_result() {
    let cases: Vec<_> = comparable_cases()
        .into_iter()
        .filter(Case::has_attentions)
        .map(|case| {
            let mut expected = expected(&case);
            expected.retain(|name, _| !name.contains("attentions"));
            (case, expected)
        })
        .collect();
    assert!(!cases.is_empty(), "some cases have attention maps");
    assert_parity(&cases, false);
}
