//! Benchmarks the three attention operations against the dense path, and linear layers against burn's
//! products: `cargo xtask bench`.
//!
//! The three run on 1, 2 and 4 times as many tokens. Divan's items per second are tokens, so the rate of an
//! operation with linear cost stays the same. The dense path gets its tokens already written out and
//! projected, so the comparison leaves out what the factored operations save there. The variable
//! `PERCEIVER_BENCH_DEVICE` names a device other than `flex`.

use std::sync::LazyLock;

use burn::tensor::{Device, Distribution, Tensor};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use perceiver_core::ops::{
    AttentionInput, FactoredTokens, GatherInput, GridPoints, HiddenKeys, ScatterInput,
};
use perceiver_core::{LinearMap, ops};
use perceiver_tests::device;

/// Multiples of the smallest number of tokens.
const TIMES: [usize; 3] = [1, 2, 4];

static DEVICE: LazyLock<Device> = LazyLock::new(|| {
    let name = std::env::var("PERCEIVER_BENCH_DEVICE").unwrap_or_else(|_| "flex".to_owned());
    device(&name).unwrap_or_else(|| panic!("no device {name} in this build"))
});

fn main() {
    divan::main();
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &*DEVICE)
}

/// Times an operation until its result is available, after one run that compiles and tunes.
fn time<const D: usize>(bencher: Bencher, tokens: usize, operation: impl Fn() -> Tensor<D>) {
    let run = || {
        let result = black_box(operation());
        DEVICE.sync().expect("the device computes");
        result
    };
    run();
    bencher.counter(ItemsCount::new(tokens)).bench_local(run);
}

fn dense(queries: &Tensor<4>, keys: &Tensor<4>, values: &Tensor<4>) -> Tensor<4> {
    ops::attention_probabilities(queries.clone(), keys.clone(), None, 1.0).matmul(values.clone())
}

/// The language model's encoder: 256 latents with 8 heads attend to bytes.
#[divan::bench_group(sample_count = 10, sample_size = 1)]
mod attention {
    use super::*;

    const BYTES: usize = 2048;

    fn arrays(times: usize) -> [Tensor<4>; 3] {
        let bytes = BYTES * times;
        [random([1, 8, 256, 32]), random([1, 8, bytes, 32]), random([1, 8, bytes, 160])]
    }

    #[divan::bench(args = TIMES)]
    fn streamed(bencher: Bencher, times: usize) {
        let [queries, keys, values] = arrays(times);
        time(bencher, BYTES * times, || {
            let input = AttentionInput::new(queries.clone(), keys.clone(), values.clone());
            ops::attention(input.scale(1.0))
        });
    }

    #[divan::bench(args = TIMES)]
    fn dense(bencher: Bencher, times: usize) {
        let [queries, keys, values] = arrays(times);
        time(bencher, BYTES * times, || super::dense(&queries, &keys, &values));
    }
}

/// The Fourier head's encoder: 512 latents attend to pixels, whose content is 3 colours and the mean.
#[divan::bench_group(sample_count = 10, sample_size = 1)]
mod gather_attend {
    use super::*;

    const LATENTS: usize = 512;
    const SIDE: usize = 112;
    const CONTENT: usize = 4;
    const CHANNELS: usize = 261;

    #[divan::bench(args = TIMES)]
    fn factored(bencher: Bencher, times: usize) {
        let grid = [SIDE * times, SIDE];
        let tokens = grid[0] * grid[1];
        let input = GatherInput {
            content_queries: random([1, 1, LATENTS, CONTENT]).into_dispatch(),
            axis_scores: random([1, 1, LATENTS, grid[0] + grid[1]]).into_dispatch(),
            tokens: FactoredTokens {
                content: random([1, tokens, CONTENT]).into_dispatch(),
                scale: random([1, tokens]).into_dispatch(),
                grid: grid.to_vec(),
            },
            hidden: HiddenKeys::None,
        };
        time(bencher, tokens, || ops::gather_attend(input.clone()).0);
    }

    #[divan::bench(args = TIMES)]
    fn dense(bencher: Bencher, times: usize) {
        let tokens = SIDE * times * SIDE;
        let queries = random([1, 1, LATENTS, CHANNELS]);
        let keys = random([1, 1, tokens, CHANNELS]);
        let values = random([1, 1, tokens, CHANNELS]);
        time(bencher, tokens, || super::dense(&queries, &keys, &values));
    }
}

/// The autoencoder's decoder: pixels, which consist of positions only, attend to 784 latents.
#[divan::bench_group(sample_count = 10, sample_size = 1)]
mod scatter_attend {
    use super::*;

    const LATENTS: usize = 784;
    const SIDE: usize = 112;
    const CHANNELS: usize = 512;

    #[divan::bench(args = TIMES)]
    fn factored(bencher: Bencher, times: usize) {
        let grid = [SIDE * times, SIDE];
        let tokens = grid[0] * grid[1];
        let input = ScatterInput {
            tokens: FactoredTokens {
                content: random([1, tokens, 1]).into_dispatch(),
                scale: random([1, tokens]).into_dispatch(),
                grid: grid.to_vec(),
            },
            points: GridPoints::All,
            content_keys: random([1, 1, LATENTS, 1]).into_dispatch(),
            axis_scores: random([1, 1, LATENTS, grid[0] + grid[1]]).into_dispatch(),
            key_bias: random([1, 1, LATENTS]).into_dispatch(),
            values: random([1, 1, LATENTS, CHANNELS]).into_dispatch(),
        };
        time(bencher, tokens, || ops::scatter_attend(input.clone()));
    }

    #[divan::bench(args = TIMES)]
    fn dense(bencher: Bencher, times: usize) {
        let tokens = SIDE * times * SIDE;
        let queries = random([1, 1, tokens, CHANNELS]);
        let keys = random([1, 1, LATENTS, CHANNELS]);
        let values = random([1, 1, LATENTS, CHANNELS]);
        time(bencher, tokens, || super::dense(&queries, &keys, &values));
    }
}

/// Linear layers over latents, as rows and channels in and out: of the language model, an image head, the
/// autoencoder and flow.
#[divan::bench_group(sample_count = 10, sample_size = 1)]
mod affine {
    use super::*;

    const SIZES: [[usize; 3]; 5] =
        [[256, 1280, 256], [256, 1280, 1280], [512, 1024, 1024], [784, 512, 512], [2048, 512, 512]];
    /// Calls per run: waiting for the end of each would take as long as a call.
    const CALLS: usize = 20;

    fn time(bencher: Bencher, rows: usize, operation: impl Fn() -> Tensor<2>) {
        super::time(bencher, CALLS * rows, || {
            (1..CALLS).for_each(|_| drop(operation()));
            operation()
        });
    }

    #[divan::bench(args = SIZES)]
    fn ours(bencher: Bencher, [rows, channels_in, channels_out]: [usize; 3]) {
        let x = random([rows, channels_in]);
        let map = LinearMap::new(random([channels_in, channels_out]), random([channels_out]));
        time(bencher, rows, || map.forward(x.clone()));
    }

    #[divan::bench(args = SIZES)]
    fn burns(bencher: Bencher, [rows, channels_in, channels_out]: [usize; 3]) {
        let (x, weight) = (random([rows, channels_in]), random([channels_in, channels_out]));
        let bias = random([1, channels_out]);
        time(bencher, rows, || x.clone().matmul(weight.clone()) + bias.clone());
    }
}
