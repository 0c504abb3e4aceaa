use std::f64::consts::{PI, SQRT_2};

use burn::tensor::{Tensor, TensorData};
use perceiver_models::{Head, PerceiverConfig};

use super::Path;

/// Heads of the masked language model's decoder and their channels, which no configuration sets.
const DECODER_HEADS: usize = 8;
const DECODER_HEAD_CHANNELS: usize = 32;
/// How far a score lies above those of the places beside the one that is asked for.
const BYTE_MARGIN: f64 = 4.0;
/// The same between latents.
const LATENT_MARGIN: f64 = 3.0;
/// With fewer, places far apart look alike.
const FEWEST_WAVES: usize = 4;
/// Of so many channels, one at most tells the place.
const POSITION_SHARE: usize = 8;

/// A start from which each head of an attention over a text reads another place near its query's.
///
/// A few channels are set aside for positions, waves of the place with periods from two bytes to
/// twice the text. Queries and keys are projected from them, the queries turned by what a wave turns
/// over some distance, so that the head finds what lies at that distance:
///
/// - heads of the encoder's cross-attention read neighbouring bytes, from which a latent knows its
///   part of the text byte by byte;
/// - heads of self-attention read neighbouring latents;
/// - heads of the masked language model's decoder ask the latents on both sides of a byte.
///
/// Embeddings of bytes, and what the encoder adds to latents, begin without those channels. What a
/// classifier reads from tokens and latents begins blind to them, and its latents are alike beside
/// them, so that the same bytes mean the same wherever they stand.
pub(super) struct Text {
    /// Radians a byte of each wave, of which there are a cosine and a sine.
    frequencies: Vec<f64>,
    /// How far the likeness of a place and itself lies above that of any two others.
    lead: f64,
    /// Numbers of bytes, latents and channels.
    positions: usize,
    latents: usize,
    channels: usize,
    /// Of the encoder's cross-attention and of self-attention.
    cross_heads: usize,
    self_heads: usize,
    /// As large as a drawn embedding's numbers.
    deviation: f64,
    head: Head,
}

impl Text {
    pub(super) fn new(config: &PerceiverConfig, head: Head) -> Result<Self, String> {
        let (tokens, channels) = (config.d_model, config.d_latents);
        if tokens != channels {
            return Err(format!(
                "`d_model` is {tokens}, expected the {channels} of `d_latents`, to begin alike"
            ));
        }
        let qk_channels = config.qk_channels.unwrap_or(channels);
        let heads = config.num_cross_attention_heads.max(config.num_self_attention_heads);
        let of_head = (qk_channels / heads).min(DECODER_HEAD_CHANNELS);
        let waves = of_head.min(channels / POSITION_SHARE) / 2;
        if waves < FEWEST_WAVES {
            return Err(format!(
                "heads have {of_head} channels of {channels}, expected 8 or more, of 64 or more"
            ));
        }
        let positions = config.max_position_embeddings;
        let part = |wave: usize| wave as f64 / (waves - 1) as f64;
        let frequencies: Vec<_> =
            (0..waves).map(|wave| PI * (positions as f64).powf(-part(wave))).collect();
        let likeness = |distance: usize| -> f64 {
            frequencies.iter().map(|frequency| (frequency * distance as f64).cos()).sum()
        };
        let nearest = (1..positions).map(likeness).fold(f64::MIN, f64::max);
        Ok(Self {
            lead: likeness(0) - nearest,
            frequencies,
            positions,
            latents: config.num_latents,
            channels,
            cross_heads: config.num_cross_attention_heads,
            self_heads: config.num_self_attention_heads,
            deviation: config.initializer_range,
            head,
        })
    }

    /// What a parameter begins with, where it is not what was drawn.
    pub(super) fn value(&self, path: &Path, drawn: Tensor<2>) -> Option<TensorData> {
        let part = self.positions as f64 / self.latents as f64;
        // Only the waves of a latent or a query are loud, and of a token that has other channels.
        let loud = (self.channels as f64 / self.position_channels() as f64).sqrt();
        if path.within("position_embeddings") {
            // A classifier's decoder has a single query, which is at no place.
            if drawn.dims()[0] != self.positions {
                return None;
            }
            let places = (0..self.positions).map(|position| position as f64);
            let zeros = Tensor::zeros(drawn.dims(), &drawn.device());
            return Some(self.with_waves(zeros, places, self.deviation));
        }
        if path.within("latents") {
            let places = (0..self.latents).map(|latent| ((latent as f64 + 0.5) * part).floor());
            let others = if self.head == Head::MaskedLm { drawn } else { drawn.zeros_like() };
            return Some(self.with_waves(others, places, 1.0));
        }
        if path.within("embeddings") {
            return Some(self.without_positions(drawn));
        }
        let decoder = path.within("decoding_cross_attention");
        if self.head != Head::MaskedLm {
            let reads = path.within("value") || path.within("dense1");
            if reads || decoder && path.within("key") {
                return Some(self.blind(drawn));
            }
            if decoder {
                return None;
            }
        }
        let asked = if decoder {
            let apart = part / DECODER_HEADS as f64;
            Asked { heads: DECODER_HEADS, apart, margin: LATENT_MARGIN, loudness: loud }
        } else if path.within("cross_attention") {
            let heads = self.cross_heads;
            let apart = (part / heads as f64).max(1.0);
            Asked { heads, apart, margin: BYTE_MARGIN, loudness: loud }
        } else if path.within("self_attends") {
            Asked { heads: self.self_heads, apart: part, margin: LATENT_MARGIN, loudness: 1.0 }
        } else {
            return None;
        };
        if path.within("query") {
            return Some(self.projection(drawn, &asked, true));
        }
        if path.within("key") {
            return Some(self.projection(drawn, &asked, false));
        }
        let adds_to_latents = !decoder && (path.within("output") || path.within("dense2"));
        adds_to_latents.then(|| self.without_positions(drawn))
    }

    fn position_channels(&self) -> usize {
        2 * self.frequencies.len()
    }

    /// Sets the first channels of each row to the waves of its place, with mean square
    /// `deviation²`.
    fn with_waves(
        &self,
        rows: Tensor<2>,
        places: impl Iterator<Item = f64>,
        deviation: f64,
    ) -> TensorData {
        let amplitude = deviation * SQRT_2;
        let wave = |place: f64| {
            let angles = self.frequencies.iter().map(move |frequency| place * frequency);
            angles.flat_map(move |angle| [angle.cos(), angle.sin()])
        };
        let waves: Vec<f32> =
            places.flat_map(wave).map(|number| (amplitude * number) as f32).collect();
        self.with_positions(rows, waves)
    }

    /// Nothing in the channels of positions.
    fn without_positions(&self, rows: Tensor<2>) -> TensorData {
        let zeros = vec![0.0; rows.dims()[0] * self.position_channels()];
        self.with_positions(rows, zeros)
    }

    /// A projection from all channels but those of positions.
    fn blind(&self, drawn: Tensor<2>) -> TensorData {
        let [_, columns] = drawn.dims();
        let positions = 0..self.position_channels();
        let zeros = Tensor::zeros([positions.len(), columns], &drawn.device());
        drawn.slice_assign([positions, 0..columns], zeros).into_data()
    }

    /// Sets the channels of positions, row by row.
    fn with_positions(&self, rows: Tensor<2>, numbers: Vec<f32>) -> TensorData {
        let shape = [rows.dims()[0], self.position_channels()];
        let numbers = Tensor::from_data(TensorData::new(numbers, shape), &rows.device());
        rows.slice_assign([0..shape[0], 0..shape[1]], numbers).into_data()
    }

    /// A projection of queries or keys, `[channels, heads · channels of a head]`: each head's first
    /// channels are the positions, and nothing else; queries' are turned to the place they ask for.
    fn projection(&self, drawn: Tensor<2>, asked: &Asked, queries: bool) -> TensorData {
        let [rows, columns] = drawn.dims();
        let mut numbers: Vec<f32> = drawn.into_data().iter().collect();
        let of_head = columns / asked.heads;
        let gain = self.gain(asked, of_head);
        for head in 0..asked.heads {
            let columns_before = head * of_head;
            for row in numbers.chunks_exact_mut(columns) {
                row[columns_before..columns_before + self.position_channels()].fill(0.0);
            }
            let distance = if queries { asked.distance(head) } else { 0.0 };
            for (wave, frequency) in self.frequencies.iter().enumerate() {
                let (sine, cosine) = (distance * frequency).sin_cos();
                for (from, to, turn) in
                    [(0, 0, cosine), (1, 0, -sine), (0, 1, sine), (1, 1, cosine)]
                {
                    let row = (2 * wave + from) * columns;
                    numbers[row + columns_before + 2 * wave + to] = (gain * turn) as f32;
                }
            }
        }
        TensorData::new(numbers, [rows, columns])
    }

    /// By what both projections multiply waves for the margin that is asked for.
    fn gain(&self, asked: &Asked, channels_of_head: usize) -> f64 {
        let margin = 2.0 * asked.loudness * self.lead;
        (asked.margin * (channels_of_head as f64).sqrt() / margin).sqrt()
    }
}

/// What the heads of an attention ask for.
struct Asked {
    heads: usize,
    /// Bytes between the places of two heads.
    apart: f64,
    /// Of the right score over all others.
    margin: f64,
    /// Root mean square of the normalised queries' waves; that of the keys' is one.
    loudness: f64,
}

impl Asked {
    /// From the query's place, in bytes; half of the heads look back.
    fn distance(&self, head: usize) -> f64 {
        (head as f64 - (self.heads / 2) as f64) * self.apart
    }
}
