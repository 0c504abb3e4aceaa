//! Fills in the masked bytes of a sentence with a small bundled language model.
//!
//!     cargo run --release -p perceiver-pipelines --example fill_mask -- "She was [MASK][MASK][MASK] happy."

use std::env;

use burn::tensor::Device;
use perceiver_pipelines::{FillMask, Result};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/language");
const TEXT: &str = "Elizabeth could [MASK][MASK][MASK] believe it.";

#[allow(clippy::print_stdout, reason = "an example prints its results")]
fn main() -> Result<()> {
    let text = env::args().nth(1).filter(|text| text.contains("[MASK]"));
    let text = text.as_deref().unwrap_or(TEXT);

    // A hub id such as "deepmind/language-perceiver" works in place of a folder.
    let pipeline = FillMask::from_pretrained(MODEL, &Device::flex())?.top_k(3);
    let filled = pipeline.run(text)?;
    println!("{}", filled.text);
    for candidate in &filled.spans[0].candidates {
        println!("  {:.3} {:?}", candidate.score, candidate.text);
    }

    // Words to choose from may have any length: one mask is enough.
    let pipeline = pipeline.words(["very", "not", "blue"]).rescored(3);
    for candidate in &pipeline.run("I am [MASK] happy to see you.")?.spans[0].candidates {
        println!("  {:.5} {:?}", candidate.score, candidate.text);
    }
    Ok(())
}

#[test]
fn it_runs() -> Result<()> {
    main()
}
