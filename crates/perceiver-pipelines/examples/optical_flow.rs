//! Estimates the motion between two frames with a small bundled model, and draws it.
//!
//!     cargo run --release -p perceiver-pipelines --example optical_flow -- first.png second.png

use std::env;

use burn::tensor::Device;
use perceiver_pipelines::{Colours, OpticalFlow, Palette, Result, RgbImage, read_image};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/flow");

#[allow(clippy::print_stdout, reason = "an example prints its results")]
fn main() -> Result<()> {
    let pipeline = OpticalFlow::from_pretrained(MODEL, &Device::flex())?;
    let [first, second] = match &env::args().skip(1).collect::<Vec<_>>()[..] {
        [first, second] if first.contains('.') => [read_image(first)?, read_image(second)?],
        _ => [waves(0.0, 0.0), waves(1.0, -1.0)],
    };

    // `[height, width, 2]`: pixels to the right, then down. Large frames are split into tiles.
    let flow = pipeline.run_with_progress(&first, &second, |tiles| {
        println!("{} of {} tiles", tiles.done, tiles.total);
    })?;
    let count = (flow.len() / 2) as f32;
    let mean = |axis: usize| flow.iter().skip(axis).step_by(2).sum::<f32>() / count;
    println!("{:.2} pixels to the right and {:.2} down on average", mean(0), mean(1));

    let picture = Colours::new(Palette::Middlebury, 3.0).picture(flow.view());
    let path = env::temp_dir().join("optical_flow.png");
    match picture.save(&path) {
        Ok(()) => println!("{}", path.display()),
        Err(error) => println!("{}: {error}", path.display()),
    }
    Ok(())
}

/// Waves of colour, shifted to the right and down.
fn waves(right: f32, down: f32) -> RgbImage {
    RgbImage::from_fn(36, 16, |x, y| {
        let (x, y) = (x as f32 - right, y as f32 - down);
        let level = |phase: f32| {
            let waves =
                (0.7 * x + 0.3 * y + phase).sin() + (0.6 * y - 0.35 * x + 2.0 * phase).sin();
            (127.5 + 51.0 * waves) as u8
        };
        [level(0.0), level(1.0), level(2.0)].into()
    })
}

#[test]
fn it_runs() -> Result<()> {
    main()
}
