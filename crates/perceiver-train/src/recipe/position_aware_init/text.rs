use std::f64::consts::{PI, SQRT_2};

use burn::tensor::{Tensor, TensorData};
use perceiver_models::{AttentionConfig, Head, PerceiverConfig, PerceiverForMaskedLM};

use super::role::{Map, Role, Stage};

/// Margin between the score of the place sought and those of its neighbours.
const BYTE_MARGIN: f64 = 4.0;
/// The same margin between latents.
const LATENT_MARGIN: f64 = 3.0;
/// With fewer, places far apart look alike.
const FEWEST_WAVES: usize = 4;
/// At most one of so many channels holds the place.
const POSITION_SHARE: usize = 8;

/// Initialises attention over a text, so that each head reads at another distance from its query.
///
/// A few channels are reserved for positions: waves with periods from two bytes to twice the text.
/// Queries and keys are projected from them. The projection of queries also rotates each wave by the
/// angle that it turns over some distance, so that the head reads at that distance:
///
/// - heads of the encoder's cross-attention read neighbouring bytes, so that a latent knows its part
///   of the text byte by byte;
/// - heads of self-attention read neighbouring latents;
/// - heads of the masked language model's decoder read the latents on both sides of a byte.
///
/// Embeddings of bytes, and the encoder's output, start at zero in those channels. A classifier's
/// values and keys start blind to them, and its latents start equal in all others, so that the same
/// bytes mean the same everywhere.
pub(super) struct TextInit {
    /// Radians per byte of each wave, which has a cosine and a sine.
    frequencies: Vec<f64>,
    /// Likeness of a place to itself, above that of any two different places.
    lead: f64,
    /// Numbers of bytes, latents and channels.
    positions: usize,
    latents: usize,
    channels: usize,
    /// Heads of the encoder's cross-attention, of self-attention and of the decoder.
    cross_heads: usize,
    self_heads: usize,
    decoder_heads: usize,
    /// Standard deviation of random embeddings.
    deviation: f64,
    head: Head,
}

impl TextInit {
    pub(super) fn new(config: &PerceiverConfig, head: Head) -> Result<Self, String> {
        let (tokens, channels) = (config.d_model, config.d_latents);
        if tokens != channels {
            return Err(format!("`d_model` is {tokens}, expected the {channels} of `d_latents`"));
        }
        let qk_channels = config.qk_channels.unwrap_or(channels);
        let heads = config.num_cross_attention_heads.max(config.num_self_attention_heads);
        let decoder = PerceiverForMaskedLM::decoder_config(config).layer.attention;
        let AttentionConfig { heads: decoder_heads, qk_channels: decoder_channels, .. } = decoder;
        let of_head = (qk_channels / heads).min(decoder_channels / decoder_heads);
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
            decoder_heads,
            deviation: config.initializer_range,
            head,
        })
    }

    /// The initial value of a parameter, unless its random value stays.
    pub(super) fn value(&self, role: Role, drawn: Tensor<2>) -> Option<TensorData> {
        let part = self.positions as f64 / self.latents as f64;
        // Only the waves of a latent or a query are large, beside a token's other channels.
        let loud = (self.channels as f64 / self.position_channels() as f64).sqrt();
        let (stage, map) = match role {
            // A classifier's decoder has a single query, without a place.
            Role::Positions if drawn.dims()[0] != self.positions => return None,
            Role::Positions => {
                let places = (0..self.positions).map(|position| position as f64);
                let zeros = Tensor::zeros(drawn.dims(), &drawn.device());
                return Some(self.with_waves(zeros, places, self.deviation));
            }
            Role::Latents => {
                let places = (0..self.latents).map(|latent| ((latent as f64 + 0.5) * part).floor());
                let others = if self.head == Head::MaskedLm { drawn } else { drawn.zeros_like() };
                return Some(self.with_waves(others, places, 1.0));
            }
            Role::Embeddings => return Some(self.without_positions(drawn)),
            Role::Layer(stage, map) => (stage, map),
            Role::Patches | Role::Other => return None,
        };
        if self.head != Head::MaskedLm {
            match (stage, map) {
                (_, Map::Value | Map::MlpInput) | (Stage::Decoder, Map::Key) => {
                    return Some(self.blind(drawn));
                }
                (Stage::Decoder, _) => return None,
                _ => {}
            }
        }
        let target = match stage {
            Stage::Decoder => {
                let heads = self.decoder_heads;
                let apart = part / heads as f64;
                Target { heads, apart, margin: LATENT_MARGIN, loudness: loud }
            }
            Stage::Encoder => {
                let heads = self.cross_heads;
                let apart = (part / heads as f64).max(1.0);
                Target { heads, apart, margin: BYTE_MARGIN, loudness: loud }
            }
            Stage::Latents => {
                let heads = self.self_heads;
                Target { heads, apart: part, margin: LATENT_MARGIN, loudness: 1.0 }
            }
        };
        match map {
            Map::Query => Some(self.projection(drawn, &target, true)),
            Map::Key => Some(self.projection(drawn, &target, false)),
            Map::Output | Map::MlpOutput if stage != Stage::Decoder => {
                Some(self.without_positions(drawn))
            }
            _ => None,
        }
    }

    fn position_channels(&self) -> usize {
        2 * self.frequencies.len()
    }

    /// Sets the first channels of each row to the waves of its place, with mean square `deviation²`.
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

    /// Clears the channels of positions.
    fn without_positions(&self, rows: Tensor<2>) -> TensorData {
        let zeros = vec![0.0; rows.dims()[0] * self.position_channels()];
        self.with_positions(rows, zeros)
    }

    /// A projection from all channels except those of positions.
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
    /// channels hold only positions, which queries rotate to the place they read.
    fn projection(&self, drawn: Tensor<2>, target: &Target, queries: bool) -> TensorData {
        let [rows, columns] = drawn.dims();
        let mut numbers: Vec<f32> = drawn.into_data().iter().collect();
        let of_head = columns / target.heads;
        let gain = self.gain(target, of_head);
        for head in 0..target.heads {
            let columns_before = head * of_head;
            for row in numbers.chunks_exact_mut(columns) {
                row[columns_before..columns_before + self.position_channels()].fill(0.0);
            }
            let distance = if queries { target.distance(head) } else { 0.0 };
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

    /// The factor in both projections that gives scores their margin.
    fn gain(&self, target: &Target, channels_of_head: usize) -> f64 {
        let margin = 2.0 * target.loudness * self.lead;
        (target.margin * (channels_of_head as f64).sqrt() / margin).sqrt()
    }
}

/// The places that the heads of an attention read.
struct Target {
    heads: usize,
    /// Bytes between the places of neighbouring heads.
    apart: f64,
    /// Margin of the right score over all others.
    margin: f64,
    /// Root mean square of the normalised queries' waves; keys' waves have 1.
    loudness: f64,
}

impl Target {
    /// Distance from the query's place, in bytes; half of the heads look back.
    fn distance(&self, head: usize) -> f64 {
        (head as f64 - (self.heads / 2) as f64) * self.apart
    }
}
