//! Classifies photos with a small bundled model of ten kinds of clothes.
//!
//!     cargo run --release -p perceiver-pipelines --example classify_photo -- shirt.jpg boot.png

use std::env;
use std::path::PathBuf;

use burn::tensor::Device;
use perceiver_pipelines::{Classify, Result, RgbImage};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/fashion-mnist");

#[allow(clippy::print_stdout, reason = "an example prints its results")]
fn main() -> Result<()> {
    let pipeline = Classify::from_pretrained(MODEL, &Device::flex())?.top_k(3);

    // An image can be a file or pixels.
    println!("a drawing");
    for label in pipeline.run(trousers())?.labels {
        println!("  {:.3} {}", label.score, label.name);
    }

    // Many photos: other threads read the next batch while the model works on this one.
    let photos = env::args_os().skip(1).map(PathBuf::from);
    let photos: Vec<PathBuf> = photos.filter(|path| path.is_file()).collect();
    for (photo, answer) in photos.iter().zip(pipeline.batch(16).run_all(photos.clone())) {
        match answer {
            Ok(answer) => println!("{}: {}", photo.display(), answer.labels[0].name),
            Err(error) => println!("{error}"),
        }
    }
    Ok(())
}

/// Two bright legs on a dark ground.
fn trousers() -> RgbImage {
    RgbImage::from_fn(28, 28, |x, y| {
        let is_leg = (8..=12).contains(&x) || (15..=19).contains(&x);
        let is_waist = (8..=19).contains(&x) && y < 7;
        let level = if (2..26).contains(&y) && (is_leg || is_waist) { 200 } else { 0 };
        [level; 3].into()
    })
}

#[test]
fn it_runs() -> Result<()> {
    main()
}
