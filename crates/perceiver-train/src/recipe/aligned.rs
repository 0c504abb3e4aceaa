use std::f64::consts::{PI, SQRT_2};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use perceiver_io::{fourier_features, linear_positions};
use perceiver_models::{Head, PerceiverConfig};

/// How much further apart the scores of the first cross-attentions lie than drawn weights put them.
const SHARPNESS: f64 = 3.0;

/// Gives a fresh model a start from which every latent reads its own part of the input, and every
/// query asks the latents of its own part.
///
/// Drawn weights, which are the reference's start, let every latent see all of the input alike. A
/// masked language model then knows the frequencies of bytes and no more for thousands of steps,
/// until it finds out, place by place, which position is next to which. Here
///
/// - learned positions and queries of texts are cosines and sines of the position,
/// - latents are those of places evenly over the input, as loud as what attention adds to them,
/// - keys of the cross-attentions are projected as their queries are, so that like finds like.
///
/// All of it is learned on from there; the model's shape and its parameters' names stay.
///
/// # Errors
/// When the head's inputs have no such start, or too few channels for it.
pub(super) fn align<M: Module>(
    model: M,
    head: Head,
    config: &PerceiverConfig,
    size: Option<[usize; 2]>,
) -> Result<M, String> {
    let shared = match (head, size) {
        (Head::MaskedLm | Head::SequenceClassification, _) => Shared::text(config),
        (Head::OpticalFlow, _) => {
            let [height, width] = [config.train_size[0], config.train_size[1]];
            Shared::frame(config, FLOW_CONTENT, [height, width], [height, width])
        }
        (Head::ImageClassificationFourier, Some(size)) => {
            Shared::frame(config, IMAGE_CONTENT, IMAGE_RESOLUTION, size)
        }
        _ => Err(format!("{} has no such start", head.name())),
    };
    let shared = shared.map_err(|reason| format!("`run.aligned_start`: {reason}"))?;
    // A classifier's query is at no place.
    let queries = matches!(head, Head::MaskedLm | Head::OpticalFlow);
    Ok(model.map(&mut Alignment { path: Vec::new(), shared, queries, query: None }))
}

/// Channels before the positions' in what the flow head reads, and in what the image head reads.
const FLOW_CONTENT: usize = 64;
const IMAGE_CONTENT: usize = 3;

/// Of the image head's Fourier positions, whatever the size of the images.
const IMAGE_RESOLUTION: [usize; 2] = [224, 224];

/// Frequencies of each axis in images and frames.
const BANDS: usize = 64;

/// What tokens and latents have in common.
struct Shared {
    /// Channels of a token, and those of a latent that mean the same.
    channels: Vec<[usize; 2]>,
    /// `[latents, channels]` of those channels, by rows.
    latents: Vec<f32>,
    /// The table of learned positions: how many, and its values by rows.
    positions: Option<(usize, Vec<f32>)>,
}

impl Shared {
    fn text(config: &PerceiverConfig) -> Result<Self, String> {
        let (tokens, latents) = (config.d_model, config.d_latents);
        if tokens != latents {
            return Err(format!(
                "`d_model` is {tokens}, expected the {latents} of `d_latents`, to begin alike"
            ));
        }
        let positions = config.max_position_embeddings;
        let part = positions as f64 / config.num_latents as f64;
        let places = (0..config.num_latents).map(|latent| (latent as f64 + 0.5) * part);
        let each = (0..positions).map(|position| position as f64);
        let table = waves(each, positions, tokens, config.initializer_range);
        Ok(Self {
            channels: (0..tokens).map(|channel| [channel, channel]).collect(),
            latents: waves(places, positions, tokens, 1.0),
            positions: Some((positions, table)),
        })
    }

    /// Of Fourier positions, the frequencies that tell one latent's part from the next one's.
    fn frame(
        config: &PerceiverConfig,
        content: usize,
        resolution: [usize; 2],
        size: [usize; 2],
    ) -> Result<Self, String> {
        let parts = parts(config.num_latents, size);
        // As many frequencies as parts can tell apart, by axis.
        let bands = [0, 1].map(|axis| {
            let frequencies = linear_positions(1.0, resolution[axis] as f32 / 2.0, BANDS);
            frequencies.iter().filter(|&&f| f <= parts[axis] as f32 / 2.0).count().max(1)
        });
        let features = [0, 1].map(|axis| {
            let centre = |part: usize| -1.0 + (2 * part + 1) as f32 / parts[axis] as f32;
            let centres: Vec<_> = (0..parts[axis]).map(centre).collect();
            fourier_features(&centres, BANDS, resolution[axis], false, false)
        });
        let mut columns = Vec::new();
        for axis in [0, 1] {
            for phase in [0, 1] {
                columns.extend((0..bands[axis]).map(|band| (axis, phase, band)));
            }
        }
        if columns.len() > config.d_latents {
            let (needed, found) = (columns.len(), config.d_latents);
            return Err(format!("`d_latents` is {found}, expected {needed} or more"));
        }
        // Coordinates come first, then the sines of both axes, then the cosines.
        let channel = |(axis, phase, band): (usize, usize, usize)| {
            content + 2 + (2 * phase + axis) * BANDS + band
        };
        let latents = (0..parts[0] * parts[1]).flat_map(|latent| {
            let place = [latent / parts[1], latent % parts[1]];
            let feature = |&(axis, phase, band): &(usize, usize, usize)| {
                SQRT_2 as f32 * features[axis][place[axis] * 2 * BANDS + phase * BANDS + band]
            };
            columns.iter().map(feature).collect::<Vec<_>>()
        });
        Ok(Self {
            latents: latents.collect(),
            channels: columns.iter().enumerate().map(|(to, &from)| [channel(from), to]).collect(),
            positions: None,
        })
    }
}

/// Rows and columns of so many latents over a frame, each as nearly square as can be.
fn parts(latents: usize, [height, width]: [usize; 2]) -> [usize; 2] {
    let rows = (latents as f64 * height as f64 / width as f64).sqrt();
    let divisors = (1..=latents).filter(|&rows| latents.is_multiple_of(rows));
    let nearest = |a: &usize, b: &usize| {
        let [a, b] = [a, b].map(|&divisor| (divisor as f64 / rows).ln().abs());
        a.total_cmp(&b)
    };
    let rows = divisors.min_by(nearest).unwrap_or(1);
    [rows, latents / rows]
}

struct Alignment {
    path: Vec<String>,
    shared: Shared,
    /// Whether the decoder's queries share as much with the latents as tokens do.
    queries: bool,
    /// The last cross-attention's, which comes before its key projection.
    query: Option<TensorData>,
}

impl Alignment {
    fn within(&self, name: &str) -> bool {
        self.path.iter().any(|segment| segment.ends_with(name))
    }

    /// What a parameter of so many rows begins with, where it is not what was drawn.
    fn value(&mut self, drawn: Tensor<2>) -> Option<TensorData> {
        let [rows, columns] = drawn.dims();
        let Shared { channels, latents, positions } = &self.shared;
        if self.within("position_embeddings") {
            let (_, table) = positions.as_ref().filter(|(positions, _)| *positions == rows)?;
            return Some(TensorData::new(table.clone(), [rows, columns]));
        }
        if self.within("latents") {
            let shared = channels.len();
            let places = TensorData::new(latents.clone(), [rows, shared]);
            let places = Tensor::from_data(places, &drawn.device());
            return Some(drawn.slice_assign([0..rows, 0..shared], places).into_data());
        }
        let decoder = self.within("decoding_cross_attention");
        if !self.within("cross_attention") || (decoder && !self.queries) {
            return None;
        }
        if self.within("query") {
            self.query = Some(drawn.clone().into_data());
            return Some((drawn * SHARPNESS).into_data());
        }
        if self.within("key") {
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

impl ModuleMapper for Alignment {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if D != 2 {
            return param;
        }
        let shape = param.lazy_shape();
        let drawn = param.val().detach().reshape([shape[0], shape[1]]);
        let Some(data) = self.value(drawn) else { return param };
        let device: Device = param.lazy_device();
        let id = param.id;
        param.transform_for_load(Tensor::from_data(data, &device), id)
    }
}

/// `[places, channels]` by rows: cosine and sine in turn of each place, whose periods go from two
/// positions to twice all of them in equal ratios, with mean square `deviation²`.
fn waves(
    places: impl Iterator<Item = f64>,
    positions: usize,
    channels: usize,
    deviation: f64,
) -> Vec<f32> {
    let pairs = channels.div_ceil(2);
    let amplitude = deviation * SQRT_2;
    let wave = |place: f64, channel: usize| {
        let part = (channel / 2) as f64 / (pairs.max(2) - 1) as f64;
        let angle = place * PI * (positions as f64).powf(-part);
        amplitude * if channel.is_multiple_of(2) { angle.cos() } else { angle.sin() }
    };
    places.flat_map(|place| (0..channels).map(move |channel| wave(place, channel) as f32)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use burn::tensor::{Distribution, Int};
    use perceiver_core::OutputOptions;
    use perceiver_models::{PerceiverForMaskedLM, PerceiverForOpticalFlow, PretrainedModel};

    use super::*;

    const MAPS: OutputOptions = OutputOptions { hidden_states: false, attentions: true };

    fn config(fields: &str) -> PerceiverConfig {
        let shape = r#""model_type": "perceiver", "num_blocks": 1, "num_self_attends_per_block": 1,
            "num_self_attention_heads": 1, "num_cross_attention_heads": 1,
            "initializer_range": 0.08, "attention_probs_dropout_prob": 0"#;
        PerceiverConfig::from_json(&format!("{{{shape}, {fields}}}")).unwrap()
    }

    /// For each query, where what it attends to lies on average, `places` being where keys lie.
    fn centres(map: Tensor<4>, places: &[f64]) -> Vec<f64> {
        let weights: Vec<f32> = map.mean_dim(1).into_data().iter().collect();
        let row =
            |row: &[f32]| row.iter().zip(places).map(|(&w, place)| f64::from(w) * place).sum();
        weights.chunks(places.len()).map(row).collect()
    }

    /// Whether they are so near on average; of drawn weights it is a quarter of all places.
    #[track_caller]
    fn assert_near(found: &[f64], expected: &[f64], distance: f64) {
        assert_eq!(found.len(), expected.len());
        let sum: f64 = found.iter().zip(expected).map(|(found, at)| (found - at).abs()).sum();
        assert!(sum < distance * found.len() as f64, "{found:.1?}, not {expected:.1?}");
    }

    #[test]
    fn latents_read_their_part_of_a_text_and_positions_ask_the_latents_of_theirs() {
        let device = Device::flex();
        device.seed(1);
        let config = config(
            r#""num_latents": 8, "d_latents": 96, "d_model": 96, "max_position_embeddings": 32"#,
        );
        let drawn = PerceiverForMaskedLM::from_config(&config, &device).unwrap();
        let model = align(drawn, Head::MaskedLm, &config, None).unwrap();
        let ids = Tensor::<1, Int>::arange(0..32, &device).mul_scalar(37).remainder_scalar(256);
        let output = model.forward(ids.add_scalar(6).unsqueeze(), None, None, MAPS);
        let maps = output.cross_attentions.unwrap();
        let positions: Vec<f64> = (0..32).map(f64::from).collect();
        let parts: Vec<f64> = (0..8).map(|latent| f64::from(latent) * 4.0 + 2.0).collect();
        assert_near(&centres(maps[0].clone(), &positions), &parts, 2.0);
        assert_near(&centres(maps[1].clone(), &parts), &positions, 4.0);
    }

    #[test]
    fn latents_read_their_part_of_a_frame() {
        let device = Device::flex();
        device.seed(1);
        let config = config(
            r#""num_latents": 24, "d_latents": 128, "d_model": 322, "train_size": [16, 24],
                "qk_channels": 128, "v_channels": 128"#,
        );
        let drawn = PerceiverForOpticalFlow::from_config(&config, &device).unwrap();
        let model = align(drawn, Head::OpticalFlow, &config, None).unwrap();
        let patches = Tensor::random([1, 2, 27, 16, 24], Distribution::Uniform(-1.0, 1.0), &device);
        let maps = model.forward(patches, None, MAPS).cross_attentions.unwrap();
        let pixels = (0..16 * 24).map(|pixel| [f64::from(pixel / 24), f64::from(pixel % 24)]);
        let pixels: Vec<_> = pixels.collect();
        for axis in [0, 1] {
            let places: Vec<_> = pixels.iter().map(|pixel| pixel[axis]).collect();
            let part = |latent| [latent / 6, latent % 6][axis];
            let expected: Vec<_> =
                (0..24).map(|latent| f64::from(part(latent)) * 4.0 + 1.5).collect();
            assert_near(&centres(maps[0].clone(), &places), &expected, 2.0);
        }
    }

    #[test]
    fn latents_lie_in_rows_and_columns_of_nearly_square_parts() {
        assert_eq!(parts(6, [16, 24]), [2, 3]);
        assert_eq!(parts(36, [28, 28]), [6, 6]);
        assert_eq!(parts(96, [32, 48]), [8, 12]);
        assert_eq!(parts(7, [28, 56]), [1, 7]);
    }

    #[test]
    fn what_has_no_such_start_is_refused() {
        let refused = |head, fields, expected: &str| {
            let model = burn::nn::LinearConfig::new(1, 1).init(&Device::flex());
            let reason = align(model, head, &config(fields), Some([28, 28])).unwrap_err();
            assert!(reason.contains(expected), "{reason}");
        };
        refused(
            Head::MaskedLm,
            r#""d_model": 8, "d_latents": 16"#,
            "`d_model` is 8, expected the 16",
        );
        refused(Head::OpticalFlow, r#""d_latents": 8"#, "`d_latents` is 8, expected 10");
        refused(Head::MultimodalAutoencoding, r#""d_latents": 8"#, "has no such start");
    }
}
