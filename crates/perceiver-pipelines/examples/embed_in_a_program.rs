//! Embeds a small bundled model in the program: the executable needs no other file.
//!
//!     cargo run --release -p perceiver-pipelines --example embed_in_a_program -- "Dov'è la stazione?"

use std::env;

use burn::tensor::Device;
use perceiver_pipelines::{Classify, Result};

const FILES: [(&str, &[u8]); 3] = [
    ("config.json", include_bytes!("../../../models/languages/config.json")),
    ("model.safetensors", include_bytes!("../../../models/languages/model.safetensors")),
    ("tokenizer_config.json", include_bytes!("../../../models/languages/tokenizer_config.json")),
];
const TEXT: &str = "Le chat dort sur la table.";

#[allow(clippy::print_stdout, reason = "an example prints its results")]
fn main() -> Result<()> {
    let pipeline = Classify::from_files(&FILES, &Device::flex())?.top_k(2);
    let text = env::args().nth(1).filter(|text| text.contains(' '));
    for label in pipeline.run(text.as_deref().unwrap_or(TEXT))?.labels {
        println!("{:.3} {}", label.score, label.name);
    }
    Ok(())
}

#[test]
fn it_runs() -> Result<()> {
    main()
}
