//! What training holds for the attention operations grows with tokens, not with scores.
#![allow(unsafe_code, reason = "an allocator that counts is one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Bool, Device, Distribution, Tensor};
use perceiver_core::{
    AttentionConfig, Axis, CrossAttention, Grid, Initialisation, KeyMask, Positions, Segment,
    TokenArray, ops,
};

/// Bytes allocated at the moment.
static LIVE: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every request goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are those the system's allocator asks for.
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
/// Of a whole layer, whose keys and values are kept as well.
const MANY_QUERIES: usize = 2048;
const CHANNELS: usize = 64;

fn tracked<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let device = Device::flex().autodiff();
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device).require_grad()
}

/// Bytes that `forward` leaves for the way back, its output included.
fn kept(forward: impl Fn() -> Tensor<4>) -> usize {
    // What is allocated once and for all is so by now.
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
    kept(|| ops::attention(queries.clone(), keys.clone(), values.clone(), None, 0.5))
}

fn kept_by_gathering(tokens: usize) -> usize {
    let grid = [SIDE, tokens / SIDE];
    let (vectors, terms) =
        (tracked([1, 1, QUERIES, 3]), tracked([1, 1, QUERIES, grid.iter().sum()]));
    let (content, scale) = (tracked([1, tokens, 3]), tracked([1, tokens]));
    kept(|| {
        let (vectors, terms) = (vectors.clone(), terms.clone());
        let (content, scale) = (content.clone(), scale.clone());
        ops::gather_attend(vectors, terms, content, scale, None, &grid).0
    })
}

fn kept_by_scattering(tokens: usize) -> usize {
    let grid = [SIDE, tokens / SIDE];
    let (vectors, terms) =
        (tracked([1, 1, QUERIES, 3]), tracked([1, 1, QUERIES, grid.iter().sum()]));
    let (content, scale) = (tracked([1, tokens, 3]), tracked([1, tokens]));
    let (bias, values) = (tracked([1, 1, QUERIES]), tracked([1, 1, QUERIES, 4]));
    kept(|| {
        let (vectors, terms) = (vectors.clone(), terms.clone());
        let (content, scale) = (content.clone(), scale.clone());
        let (bias, values) = (bias.clone(), values.clone());
        ops::scatter_attend(content, scale, vectors, terms, bias, values, None, &grid)
    })
}

/// A segment of positions in a grid, read absorbed, and one of dense tokens, read projected.
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
    // A mask, as without one the tokens could be prepared for queries to come.
    let nothing = Tensor::<2, Bool>::full([1, SIDE * SIDE + tokens], false, &device);
    let mask = KeyMask::from_hidden(nothing);
    kept(|| attention.forward(&queries, &inputs, Some(&mask), false).0.unsqueeze())
}

/// In one test, as others at the same time would be counted with it.
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
