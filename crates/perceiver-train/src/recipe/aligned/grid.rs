use std::f64::consts::SQRT_2;

use burn::tensor::{Tensor, TensorData};
use perceiver_io::{fourier_features, linear_positions};
use perceiver_models::PerceiverConfig;

use super::Path;

/// How much further apart the scores of the first cross-attentions lie than drawn weights put them.
const SHARPNESS: f32 = 3.0;

/// Tokens with Fourier positions, in space or in time and space.
#[derive(Clone, Copy)]
pub(super) struct Grid<'a> {
    /// Channels of a token before those of its position.
    pub(super) content: usize,
    /// Frequencies of each axis.
    pub(super) bands: usize,
    /// The positions' resolution by axis.
    pub(super) resolution: &'a [usize],
    /// Tokens along each axis.
    pub(super) size: &'a [usize],
}

/// What tokens with Fourier positions and latents have in common at the start:
///
/// - latents are those of places evenly over the input, as loud as what attention adds to them,
/// - keys of the cross-attentions are projected as their queries are, so that like finds like.
pub(super) struct Alike {
    /// Channels of a token, and those of a latent that mean the same.
    tokens: Vec<[usize; 2]>,
    /// The same of the decoder's queries, where they are at a place as tokens are.
    queries: Option<Vec<[usize; 2]>>,
    /// `[latents, channels]` of those channels, by rows.
    latents: Vec<f32>,
    /// The last cross-attention's query projection, which comes before its key projection.
    query: Option<TensorData>,
}

impl Alike {
    /// Of Fourier positions, the frequencies that tell one latent's part from the next one's.
    /// Queries have so many channels before those of their position.
    pub(super) fn new(
        config: &PerceiverConfig,
        tokens: &Grid<'_>,
        queries: Option<usize>,
    ) -> Result<Self, String> {
        let Grid { content, bands, resolution, size } = *tokens;
        let (axes, parts) = (size.len(), parts(config.num_latents, size));
        // Axis, phase and frequency of the channels; as many frequencies as parts can tell apart.
        let mut columns = Vec::new();
        for axis in 0..axes {
            let frequencies = linear_positions(1.0, resolution[axis] as f32 / 2.0, bands);
            let told_apart = |frequency: &&f32| **frequency <= parts[axis] as f32 / 2.0;
            let count = frequencies.iter().filter(told_apart).count().max(1);
            columns.extend(
                [0, 1]
                    .into_iter()
                    .flat_map(|phase| (0..count).map(move |band| (axis, phase, band))),
            );
        }
        if columns.len() > config.d_latents {
            let (needed, found) = (columns.len(), config.d_latents);
            return Err(format!("`d_latents` is {found}, expected {needed} or more"));
        }
        let features = |axis: usize| {
            let centre = |part: usize| -1.0 + (2 * part + 1) as f32 / parts[axis] as f32;
            let centres: Vec<_> = (0..parts[axis]).map(centre).collect();
            fourier_features(&centres, bands, resolution[axis])
        };
        let features: Vec<_> = (0..axes).map(features).collect();
        let latents = (0..config.num_latents).flat_map(|latent| {
            let place =
                |axis: usize| latent / parts[axis + 1..].iter().product::<usize>() % parts[axis];
            let feature = |&(axis, phase, band): &(usize, usize, usize)| {
                SQRT_2 as f32 * features[axis][(place(axis) * 2 + phase) * bands + band]
            };
            columns.iter().map(feature).collect::<Vec<_>>()
        });
        let latents = latents.collect();
        // Coordinates come first, then the sines of all axes, then the cosines.
        let alike = |before: usize| {
            let channel =
                |&(axis, phase, band)| before + axes + (phase * axes + axis) * bands + band;
            columns.iter().enumerate().map(|(to, from)| [channel(from), to]).collect::<Vec<_>>()
        };
        Ok(Self { tokens: alike(content), queries: queries.map(alike), latents, query: None })
    }

    /// What a parameter begins with, where it is not what was drawn.
    pub(super) fn value(&mut self, path: &Path, drawn: Tensor<2>) -> Option<TensorData> {
        let [rows, columns] = drawn.dims();
        if path.within("latents") {
            let shared = self.tokens.len();
            let places = TensorData::new(self.latents.clone(), [rows, shared]);
            let places = Tensor::from_data(places, &drawn.device());
            return Some(drawn.slice_assign([0..rows, 0..shared], places).into_data());
        }
        let decoder = path.within("decoding_cross_attention");
        if !path.within("cross_attention") {
            return None;
        }
        // Tokens are the encoder's keys, and the decoder's queries are much like them.
        let channels = if decoder { self.queries.as_ref()? } else { &self.tokens };
        if path.within("query") {
            self.query = Some(drawn.clone().into_data());
            return Some((drawn * SHARPNESS).into_data());
        }
        if path.within("key") {
            let query: Vec<f32> = self.query.take()?.iter().collect();
            let mut keys: Vec<f32> = drawn.into_data().iter().collect();
            for &[token, latent] in channels {
                let [from, to] = if decoder { [token, latent] } else { [latent, token] };
                let from = from * columns..(from + 1) * columns;
                keys[to * columns..(to + 1) * columns].copy_from_slice(&query[from]);
            }
            return Some(TensorData::new(keys, [rows, columns]));
        }
        None
    }
}

/// Parts along each axis of so many latents over a grid, each as nearly a cube as can be.
fn parts(latents: usize, size: &[usize]) -> Vec<usize> {
    let Some((&first, others)) = size.split_first() else { return Vec::new() };
    if others.is_empty() {
        return vec![latents];
    }
    let each = size.iter().product::<usize>() as f64 / latents as f64;
    let wanted = first as f64 / each.powf(1.0 / size.len() as f64);
    let divisors = (1..=latents).filter(|&count| latents.is_multiple_of(count));
    let nearest = |a: &usize, b: &usize| {
        let [a, b] = [a, b].map(|&divisor| (divisor as f64 / wanted).ln().abs());
        a.total_cmp(&b)
    };
    let count = divisors.min_by(nearest).unwrap_or(1);
    [vec![count], parts(latents / count, others)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latents_lie_in_nearly_square_parts() {
        assert_eq!(parts(6, &[16, 24]), [2, 3]);
        assert_eq!(parts(36, &[28, 28]), [6, 6]);
        assert_eq!(parts(96, &[32, 48]), [8, 12]);
        assert_eq!(parts(7, &[28, 56]), [1, 7]);
        assert_eq!(parts(128, &[16, 8, 8]), [8, 4, 4]);
    }
}
