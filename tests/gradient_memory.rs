//! What training holds for the attention operations grows with tokens, not with scores.
#![allow(unsafe_code, reason = "an allocator that counts is one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Device, Distribution, Tensor};
use perceiver_core::ops;

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

/// In one test, as others at the same time would be counted with it.
#[test]
fn no_operation_keeps_its_scores() {
    for tokens in [4096, 8192] {
        let scores = QUERIES * tokens * size_of::<f32>();
        for (kept, what) in [
            (kept_by_attention(tokens), "attention"),
            (kept_by_gathering(tokens), "gathering"),
            (kept_by_scattering(tokens), "scattering"),
        ] {
            assert!(kept < scores / 8, "{what} {tokens} tokens keeps {kept} of {scores} bytes");
        }
    }
}
