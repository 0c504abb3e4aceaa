//! The memory that training keeps for the attention operations grows with tokens, not with scores.
#![allow(unsafe_code, reason = "a counting allocator implements an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::backend::Dispatch;
use burn::tensor::{Bool, Device, Distribution, Tensor};
use perceiver_core::ops::{
    AttentionInput, FactoredTokens, GatherInput, GridPoints, HiddenKeys, ScatterInput,
};
use perceiver_core::{
    AttentionConfig, Axis, CrossAttention, Grid, Initialisation, KeyMask, Positions, Segment,
    TokenArray, ops,
};

/// Bytes that are currently allocated.
static LIVE: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every request is passed unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the pointer came from `alloc` above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const QUERIES: usize = 64;
const SIDE: usize = 64;
/// For a whole layer, which also keeps its keys and values.
const MANY_QUERIES: usize = 2048;
const CHANNELS: usize = 64;

fn tracked<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let device = Device::flex().autodiff();
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device).require_grad()
}

/// Bytes that `forward` keeps for the backward pass, including its output.
fn kept(forward: impl Fn() -> Tensor<4>) -> usize {
    // Makes one-time allocations.
    drop(forward());
    let before = LIVE.load(Ordering::Relaxed);
    let output = forward();
    let kept = LIVE.load(Ordering::Relaxed) - before;
    let _ = output.sum().backward();
    kept
}

fn kept_by_attention(tokens: usize) -> usize {
    let queries = tracked([1, 1, QUERIES, 4]);
    let (keys, values) = (tracked([1, 1, tokens, 4]), tracked([1, 1, tokens, 4]));
    kept(|| ops::attention(AttentionInput::new(queries.clone(), keys.clone(), values.clone())))
}

fn tracked_tokens(tokens: usize) -> FactoredTokens<Dispatch> {
    FactoredTokens {
        content: tracked([1, tokens, 3]).into_dispatch(),
        scale: tracked([1, tokens]).into_dispatch(),
        grid: vec![SIDE, tokens / SIDE],
    }
}

fn kept_by_gathering(tokens: usize) -> usize {
    let input = GatherInput {
        content_queries: tracked([1, 1, QUERIES, 3]).into_dispatch(),
        axis_scores: tracked([1, 1, QUERIES, SIDE + tokens / SIDE]).into_dispatch(),
        tokens: tracked_tokens(tokens),
        hidden: HiddenKeys::None,
    };
    kept(|| ops::gather_attend(input.clone()).0)
}

fn kept_by_scattering(tokens: usize) -> usize {
    let input = ScatterInput {
        tokens: tracked_tokens(tokens),
        points: GridPoints::All,
        content_keys: tracked([1, 1, QUERIES, 3]).into_dispatch(),
        axis_scores: tracked([1, 1, QUERIES, SIDE + tokens / SIDE]).into_dispatch(),
        key_bias: tracked([1, 1, QUERIES]).into_dispatch(),
        values: tracked([1, 1, QUERIES, 4]).into_dispatch(),
    };
    kept(|| ops::scatter_attend(input.clone()))
}

/// Reads a segment of grid positions, which is absorbed, and one of dense tokens, which is projected.
fn kept_by_reading(tokens: usize) -> usize {
    let device = Device::flex().autodiff();
    let config = AttentionConfig {
        query_channels: 4,
        input_channels: CHANNELS,
        qk_channels: 4,
        v_channels: 4,
        heads: 1,
        query_residual: false,
        dropout: 0.0,
    };
    let attention = CrossAttention::new(&config, Initialisation { std: 0.3 }, &device);
    let axes = [0..CHANNELS / 2, CHANNELS / 2..CHANNELS].map(|channels| Axis {
        table: tracked([SIDE, CHANNELS / 2]),
        channels: channels.collect(),
    });
    let positions = Positions::Grid(Grid { axes: axes.into(), points: None });
    let queries = TokenArray::dense(tracked([1, MANY_QUERIES, 4]));
    let inputs = TokenArray::new(vec![
        Segment::from_positions(1, positions),
        Segment::from_content(tracked([1, tokens, CHANNELS])),
    ]);
    // With a mask, because without one the decoder form might be cheaper.
    let nothing = Tensor::<2, Bool>::full([1, SIDE * SIDE + tokens], false, &device);
    let mask = KeyMask::from_hidden(nothing);
    kept(|| attention.forward(&queries, &inputs, Some(&mask), false).0.unsqueeze())
}

/// A single test, because concurrent tests would be counted, too.
#[test]
fn no_operation_keeps_its_scores() {
    for tokens in [4096, 8192] {
        let scores = QUERIES * tokens * size_of::<f32>();
        let read = kept_by_reading(tokens);
        let scores_read = MANY_QUERIES * tokens * size_of::<f32>();
        assert!(
            read < scores_read / 4,
            "reading {tokens} tokens keeps {read} of {scores_read} bytes"
        );
        for (kept, what) in [
            (kept_by_attention(tokens), "attention"),
            (kept_by_gathering(tokens), "gathering"),
            (kept_by_scattering(tokens), "scattering"),
        ] {
            assert!(kept < scores / 8, "{what} {tokens} tokens keeps {kept} of {scores} bytes");
        }
    }
}
