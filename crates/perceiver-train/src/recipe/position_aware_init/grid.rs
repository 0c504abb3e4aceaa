use std::f64::consts::SQRT_2;

use burn::tensor::{Tensor, TensorData};
use perceiver_io::{fourier_features, linear_positions};
use perceiver_models::{ImagePreprocessorConfig, PerceiverConfig, PositionEncodingConfig};

use super::role::{Map, Role, Stage};

/// Factor by which scores of the cross-attentions lie further apart than with random weights.
const SHARPNESS: f32 = 3.0;

/// Tokens with Fourier positions, in space or in time and space.
pub(super) struct Grid {
    /// Channels of a token before those of its position.
    content: usize,
    /// Frequencies of each axis.
    bands: usize,
    /// The positions' resolution by axis.
    resolution: Vec<usize>,
    /// Tokens along each axis.
    size: Vec<usize>,
}

impl Grid {
    /// The tokens of a preprocessor, with their number along each axis.
    pub(super) fn of(tokens: &ImagePreprocessorConfig, size: Vec<usize>) -> Result<Self, String> {
        match &tokens.positions.encoding {
            PositionEncodingConfig::Fourier(encoding) => Ok(Self {
                content: tokens.content_channels(),
                bands: encoding.bands,
                resolution: encoding.max_resolution.clone(),
                size,
            }),
            _ => Err("tokens have no Fourier positions".to_owned()),
        }
    }
}

/// Initialises latents and cross-attentions over tokens with Fourier positions:
///
/// - latents hold the positions of places evenly spread over the input, at the scale of attention's
///   output;
/// - cross-attentions project keys as they project queries, so that equal positions match.
pub(super) struct GridInit {
    /// Channels of a token, and the channels of a latent with the same meaning.
    tokens: Vec<[usize; 2]>,
    /// The same for the decoder's queries, if they have positions.
    queries: Option<Vec<[usize; 2]>>,
    /// `[latents, channels]`, those channels by rows.
    latents: Vec<f32>,
    /// The query projection of the last cross-attention, which precedes its key projection.
    query: Option<TensorData>,
}

impl GridInit {
    /// Uses the Fourier frequencies that tell a latent's part from its neighbours. `queries` counts the
    /// channels before the positions of the decoder's queries.
    pub(super) fn new(
        config: &PerceiverConfig,
        tokens: &Grid,
        queries: Option<usize>,
    ) -> Result<Self, String> {
        let Grid { content, bands, resolution, size } = tokens;
        let (content, bands) = (*content, *bands);
        let (axes, parts) = (size.len(), parts(config.num_latents, size));
        // Axis, phase and frequency of each channel. Parts can tell only low frequencies apart.
        let mut columns = Vec::new();
        for axis in 0..axes {
            let frequencies = linear_positions(1.0, resolution[axis] as f32 / 2.0, bands);
            let distinct = |frequency: &&f32| **frequency <= parts[axis] as f32 / 2.0;
            let count = frequencies.iter().filter(distinct).count().max(1);
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

    /// The initial value of a parameter, unless its random value stays.
    pub(super) fn value(&mut self, role: Role, drawn: Tensor<2>) -> Option<TensorData> {
        let [rows, columns] = drawn.dims();
        let (stage, map) = match role {
            Role::Latents => {
                let shared = self.tokens.len();
                let places = TensorData::new(self.latents.clone(), [rows, shared]);
                let places = Tensor::from_data(places, &drawn.device());
                return Some(drawn.slice_assign([0..rows, 0..shared], places).into_data());
            }
            Role::Layer(stage @ (Stage::Encoder | Stage::Decoder), map) => (stage, map),
            _ => return None,
        };
        // The encoder's keys are tokens, and the decoder's queries have the same channels.
        let channels = match stage {
            Stage::Decoder => self.queries.as_ref()?,
            _ => &self.tokens,
        };
        match map {
            Map::Query => {
                self.query = Some(drawn.clone().into_data());
                Some((drawn * SHARPNESS).into_data())
            }
            Map::Key => {
                let query: Vec<f32> = self.query.take()?.iter().collect();
                let mut keys: Vec<f32> = drawn.into_data().iter().collect();
                for &[token, latent] in channels {
                    let decoder = stage == Stage::Decoder;
                    let [from, to] = if decoder { [token, latent] } else { [latent, token] };
                    let from = from * columns..(from + 1) * columns;
                    keys[to * columns..(to + 1) * columns].copy_from_slice(&query[from]);
                }
                Some(TensorData::new(keys, [rows, columns]))
            }
            _ => None,
        }
    }
}

/// Number of parts along each axis, if latents divide a grid into parts that are nearly cubes.
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
