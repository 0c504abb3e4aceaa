//! Encodes an input once, then decodes it as often as you like, at the points you like.
//!
//!     cargo run -p perceiver-models --example encode_once_decode_often
//!
//! The encoder does most of the work. Its latents then answer many questions: here, where two pixels
//! of a frame go, and where all of them go.

use burn::tensor::{Device, Distribution, Tensor};
use perceiver_models::{Error, PerceiverConfig, PerceiverForOpticalFlow, PerceiverHead};

#[allow(clippy::print_stdout, reason = "an example prints its results")]
fn main() -> Result<(), Error> {
    let device = Device::flex();
    // A tiny model with fresh weights. For trained ones, replace both statements by
    // PerceiverForOpticalFlow::from_pretrained("optical-flow-perceiver", &device)?.model
    let config = PerceiverConfig {
        num_latents: 16,
        d_latents: 32,
        num_self_attends_per_block: 2,
        num_cross_attention_heads: 1,
        train_size: vec![24, 32],
        // Decodes 256 pixels at a time.
        chunk_size_feed_forward: 256,
        ..PerceiverConfig::default()
    };
    let model = PerceiverForOpticalFlow::from_config(&config, &device)?;

    // The 3x3 patch around every pixel of two frames of 24 by 32 pixels.
    let frames = Tensor::<5>::random([1, 2, 27, 24, 32], Distribution::Default, &device);
    let encoded = model.encode(frames);

    // A corner and the centre, as indices into the rows of the frame.
    let pixels = Tensor::from_data([0, 12 * 32 + 16], &device);
    for block in model.stream_at(&encoded, &pixels) {
        let motion = block.answers * PerceiverForOpticalFlow::PIXELS;
        println!("the two pixels move by {}", motion.into_data());
    }

    // The same latents answer for the whole frame, block by block, in bounded memory.
    let mut stream = model.stream(&encoded);
    while let Some(block) = stream.next() {
        let [_, pixels, _] = block.answers.dims();
        println!("{pixels} pixels, {} of {} done", stream.answered(), stream.queries());
    }
    Ok(())
}

#[test]
fn it_runs() -> Result<(), Error> {
    main()
}
