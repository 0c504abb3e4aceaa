//! Runs the same model on a device chosen on the command line.
//!
//! Features choose the backends of a program, its user chooses among them:
//!
//!     cargo run --release -p perceiver-pipelines --example choose_a_device --features wgpu -- --device wgpu

use std::env;

use burn::tensor::Device;
use perceiver_pipelines::{Classify, Result};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/languages");

#[allow(clippy::print_stdout, reason = "an example prints its results")]
fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let name = arguments.windows(2).find(|pair| pair[0] == "--device").map(|pair| &pair[1]);
    let name = name.map_or("flex", String::as_str);
    let Some(device) = device(name) else {
        println!("{name}: not in this build; add the feature of that name");
        return Ok(());
    };

    // Everything else is the same on every device.
    let pipeline = Classify::from_pretrained(MODEL, &device)?;
    let answer = pipeline.run("Il gatto dorme sul tavolo.")?;
    println!("{name}: {}", answer.labels[0].name);
    Ok(())
}

/// The default device of a backend in this build.
fn device(name: &str) -> Option<Device> {
    match name {
        #[cfg(feature = "flex")]
        "flex" => Some(Device::flex()),
        #[cfg(feature = "wgpu")]
        "wgpu" => Some(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "cuda")]
        "cuda" => Some(Device::cuda(burn::tensor::DeviceIndex::Default)),
        _ => None,
    }
}

#[test]
fn it_runs() -> Result<()> {
    main()
}
