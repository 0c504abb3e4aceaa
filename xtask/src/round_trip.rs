//! transformers loads checkpoints from `perceiver convert`, bit for bit and with the same outputs, also
//! with linear layers in 8 bits.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::steps::build_program;
use perceiver_workspace::{has_python, program, python, root, run, target};

/// Fixture folders: every head, and formats that are converted to safetensors.
const FOLDERS: [&str; 11] = [
    "model_blocks",
    "masked_lm",
    "sequence_single_label",
    "image_learned",
    "image_fourier",
    "image_conv",
    "optical_flow",
    "multimodal",
    "format_pickle_zip_bfloat16",
    "format_pickle_legacy_float16",
    "format_sharded",
];

/// As a step of CI: skipped without Python.
pub(crate) fn where_possible() -> Result<()> {
    if has_python()? { round_trip() } else { Ok(()) }
}

/// Converts each folder with our program and compares both in transformers.
pub(crate) fn round_trip() -> Result<()> {
    let perceiver = build_program()?;
    let written = target().join("round-trip");
    if written.exists() {
        std::fs::remove_dir_all(&written)?;
    }
    std::fs::create_dir_all(&written)?;
    for name in FOLDERS {
        let original = root().join("tests/fixtures/heads").join(name);
        let converted = written.join(name);
        run(program(&perceiver).arg("convert").args([&original, &converted]))?;
        check(&perceiver, &original, &converted, &["--against".as_ref(), original.as_ref()])?;
        if !name.starts_with("format") {
            let int8 = written.join(format!("{name}-int8"));
            let convert = ["convert", "--dtype", "int8", "--ignore", "none"];
            run(program(&perceiver).args(convert).args([&original, &int8]))?;
            check(&perceiver, &original, &int8, &[])?;
        }
    }
    Ok(())
}

/// Compares our outputs of a converted folder with those of transformers, for the original's inputs.
fn check(perceiver: &Path, original: &Path, converted: &Path, options: &[&OsStr]) -> Result<()> {
    let inputs: PathBuf = original.join("inputs.safetensors");
    let outputs = converted.join("outputs.safetensors");
    run(program(perceiver)
        .arg("forward")
        .arg("--model")
        .arg(converted)
        .arg("--inputs")
        .arg(&inputs)
        .arg("--output")
        .arg(&outputs))?;
    run(python()?
        .args(["tests/generate/round_trip.py"])
        .arg(converted)
        .args(options)
        .arg("--forward")
        .arg(&inputs)
        .arg("--expect")
        .arg(&outputs))
}
