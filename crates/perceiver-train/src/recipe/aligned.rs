use std::f64::consts::{PI, SQRT_2};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use perceiver_io::{fourier_features, linear_positions};
use perceiver_models::{Head, PerceiverConfig};

use super::white::whiten;

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
/// - keys of the cross-attentions are projected as their queries are, so that like finds like,
/// - patches of frames, of which flow is learned, are [whitened](whiten).
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
        (Head::MaskedLm, _) => Shared::text(config, true),
        (Head::SequenceClassification, _) => Shared::text(config, false),
        (Head::OpticalFlow, _) => {
            let size = [config.train_size[0], config.train_size[1]];
            let tokens = Grid { content: 64, bands: 64, resolution: &size, size: &size };
            Shared::grid(config, &tokens, Some(tokens.content))
        }
        // The head's Fourier positions are those of 224 x 224 pixels, whatever the images' size.
        (Head::ImageClassificationFourier, Some(size)) => {
            let tokens = Grid { content: 3, bands: 64, resolution: &[224, 224], size: &size };
            Shared::grid(config, &tokens, None)
        }
        (Head::MultimodalAutoencoding, _) => {
            let [height, width] = config.image_size.height_width();
            let resolution = [config.num_frames, height, width];
            let output = &config.output_shape;
            let size = [output[1], output[2] / PATCH, output[3] / PATCH];
            let content = 3 * PATCH * PATCH;
            let tokens = Grid { content, bands: 32, resolution: &resolution, size: &size };
            Shared::grid(config, &tokens, Some(0))
        }
        _ => Err(format!("{} has no such start", head.name())),
    };
    let shared = shared.map_err(|reason| format!("`run.aligned_start`: {reason}"))?;
    let model = model.map(&mut Alignment { path: Vec::new(), shared, query: None });
    Ok(if head == Head::OpticalFlow { whiten(model) } else { model })
}

/// Width and height in pixels of a video's patches.
const PATCH: usize = 4;

/// Tokens with Fourier positions, in space or in time and space.
#[derive(Clone, Copy)]
struct Grid<'a> {
    /// Channels of a token before those of its position.
    content: usize,
    /// Frequencies of each axis.
    bands: usize,
    /// The positions' resolution by axis.
    resolution: &'a [usize],
    /// Tokens along each axis.
    size: &'a [usize],
}

/// What tokens and latents have in common.
struct Shared {
    /// Channels of a token, and those of a latent that mean the same.
    tokens: Vec<[usize; 2]>,
    /// The same of the decoder's queries, where they are at a place as tokens are.
    queries: Option<Vec<[usize; 2]>>,
    /// `[latents, channels]` of those channels, by rows.
    latents: Vec<f32>,
    /// The table of learned positions: how many, and its values by rows.
    positions: Option<(usize, Vec<f32>)>,
}

impl Shared {
    fn text(config: &PerceiverConfig, queries: bool) -> Result<Self, String> {
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
        let alike: Vec<_> = (0..tokens).map(|channel| [channel, channel]).collect();
        Ok(Self {
            queries: queries.then(|| alike.clone()),
            tokens: alike,
            latents: waves(places, positions, tokens, 1.0),
            positions: Some((positions, table)),
        })
    }

    /// Of Fourier positions, the frequencies that tell one latent's part from the next one's.
    /// Queries have so many channels before those of their position.
    fn grid(
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
            fourier_features(&centres, bands, resolution[axis], false, false)
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
        Ok(Self { tokens: alike(content), queries: queries.map(alike), latents, positions: None })
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

struct Alignment {
    path: Vec<String>,
    shared: Shared,
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
        let Shared { tokens, queries, latents, positions } = &self.shared;
        if self.within("position_embeddings") {
            let (_, table) = positions.as_ref().filter(|(positions, _)| *positions == rows)?;
            return Some(TensorData::new(table.clone(), [rows, columns]));
        }
        if self.within("latents") {
            let shared = tokens.len();
            let places = TensorData::new(latents.clone(), [rows, shared]);
            let places = Tensor::from_data(places, &drawn.device());
            return Some(drawn.slice_assign([0..rows, 0..shared], places).into_data());
        }
        let decoder = self.within("decoding_cross_attention");
        if !self.within("cross_attention") {
            return None;
        }
        // Tokens are the encoder's keys, and the decoder's queries are much like them.
        let channels = if decoder { queries.as_ref()? } else { tokens };
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
    use burn::tensor::{Distribution, Int, s};
    use perceiver_core::OutputOptions;
    use perceiver_io::{MultimodalInput, OutputPoints};
    use perceiver_models::{
        PerceiverForMaskedLM, PerceiverForMultimodalAutoencoding, PerceiverForOpticalFlow,
        PretrainedModel,
    };

    use super::*;

    const MAPS: OutputOptions = OutputOptions { hidden_states: false, attentions: true };

    fn config(fields: &str) -> PerceiverConfig {
        let shape = r#""model_type": "perceiver", "num_blocks": 1, "num_self_attends_per_block": 1,
            "num_self_attention_heads": 1, "num_cross_attention_heads": 1,
            "attention_probs_dropout_prob": 0"#;
        PerceiverConfig::from_json(&format!("{{{shape}, {fields}}}")).unwrap()
    }

    /// For each query, where what it attends to lies on average, `places` being where keys lie.
    fn centres(map: Tensor<4>, places: &[f64]) -> Vec<f64> {
        let weights: Vec<f32> = map.mean_dim(1).into_data().iter().collect();
        let row =
            |row: &[f32]| row.iter().zip(places).map(|(&w, place)| f64::from(w) * place).sum();
        weights.chunks(places.len()).map(row).collect()
    }

    /// Models to try: what is drawn differs, and other tests draw at the same time.
    const DRAWS: usize = 5;

    /// Whether they are so near on average; of drawn weights it is a quarter of all places.
    #[track_caller]
    fn assert_near(found: &[f64], expected: &[f64], distance: f64) {
        assert_eq!(found.len(), expected.len());
        let sum: f64 = found.iter().zip(expected).map(|(found, at)| (found - at).abs()).sum();
        let mean = sum / found.len() as f64;
        assert!(mean < distance, "{mean} away: {found:.1?}, not {expected:.1?}");
    }

    #[test]
    fn latents_read_their_part_of_a_text_and_positions_ask_the_latents_of_theirs() {
        let device = Device::flex();
        device.seed(1);
        let config = config(
            r#""num_latents": 8, "d_latents": 96, "d_model": 96, "max_position_embeddings": 32,
                "initializer_range": 0.08"#,
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
                "qk_channels": 128, "v_channels": 128, "initializer_range": 0.08"#,
        );
        let map = |_| {
            let drawn = PerceiverForOpticalFlow::from_config(&config, &device).unwrap();
            let model = align(drawn, Head::OpticalFlow, &config, None).unwrap();
            // As different as neighbours are in a photo.
            let neighbours = Distribution::Uniform(-0.1, 0.1);
            let patches = Tensor::random([1, 2, 27, 16, 24], neighbours, &device);
            model.forward(patches, None, MAPS).cross_attentions.unwrap().swap_remove(0)
        };
        let maps: Vec<_> = (0..DRAWS).map(map).collect();
        let pixels = (0..16 * 24).map(|pixel| [f64::from(pixel / 24), f64::from(pixel % 24)]);
        let pixels: Vec<_> = pixels.collect();
        for axis in [0, 1] {
            let places: Vec<_> = pixels.iter().map(|pixel| pixel[axis]).collect();
            let part = |latent| [latent / 6, latent % 6][axis];
            let expected: Vec<_> =
                (0..24).map(|latent| f64::from(part(latent)) * 4.0 + 1.5).collect();
            let found = maps.iter().flat_map(|map| centres(map.clone(), &places));
            assert_near(&found.collect::<Vec<_>>(), &expected.repeat(DRAWS), [2.0, 3.0][axis]);
        }
    }

    #[test]
    fn latents_read_their_part_of_a_clip_and_pixels_ask_the_latents_of_theirs() {
        let device = Device::flex();
        device.seed(1);
        let config = config(
            r#""num_latents": 64, "d_latents": 128, "qk_channels": 512, "v_channels": 128,
                "num_frames": 8, "image_size": 8, "output_shape": [1, 8, 32, 32],
                "audio_samples_per_frame": 16, "samples_per_patch": 16, "initializer_range": 0.05"#,
        );
        // The first pixel of each patch.
        let patches: Vec<[i64; 3]> =
            (0..512).map(|patch| [patch / 64, patch / 8 % 8, patch % 8]).collect();
        let pixels: Vec<_> = patches.iter().map(|[t, y, x]| t * 1024 + y * 128 + x * 4).collect();
        let pixels = Tensor::from_data(pixels.as_slice(), &device);
        let points = OutputPoints { audio: None, image: Some(pixels) };
        let maps = |_| {
            let drawn = PerceiverForMultimodalAutoencoding::from_config(&config, &device).unwrap();
            let model = align(drawn, Head::MultimodalAutoencoding, &config, None).unwrap();
            let uniform = Distribution::Uniform(-1.0, 1.0);
            let input = MultimodalInput {
                audio: Tensor::random([1, 128, 1], uniform, &device),
                image: Tensor::random([1, 8, 3, 32, 32], uniform, &device),
                label: Tensor::zeros([1, config.num_labels()], &device),
                hidden_labels: None,
            };
            let maps = model.forward(input, None, &points, MAPS).cross_attentions.unwrap();
            // Eight patches of sound come first, before keys as before queries.
            let of_patches = maps[0].clone().slice(s![.., .., .., 8..520]);
            let of_patches = of_patches.clone() / of_patches.sum_dim(3);
            [of_patches, maps[1].clone().slice(s![.., .., 8..520, ..])]
        };
        let maps: Vec<_> = (0..DRAWS).map(maps).collect();
        for axis in 0..3 {
            let places: Vec<_> = patches.iter().map(|patch| patch[axis] as f64).collect();
            let part = |latent: usize| [latent / 16, latent / 4 % 4, latent % 4][axis];
            let parts: Vec<_> = (0..64).map(|latent| part(latent) as f64 * 2.0 + 0.5).collect();
            let latents = maps.iter().flat_map(|[map, _]| centres(map.clone(), &places));
            assert_near(&latents.collect::<Vec<_>>(), &parts.repeat(DRAWS), 1.5);
            let pixels = maps.iter().flat_map(|[_, map]| centres(map.clone(), &parts));
            assert_near(&pixels.collect::<Vec<_>>(), &places.repeat(DRAWS), 1.5);
        }
    }

    #[test]
    fn latents_lie_in_nearly_square_parts() {
        assert_eq!(parts(6, &[16, 24]), [2, 3]);
        assert_eq!(parts(36, &[28, 28]), [6, 6]);
        assert_eq!(parts(96, &[32, 48]), [8, 12]);
        assert_eq!(parts(7, &[28, 56]), [1, 7]);
        assert_eq!(parts(128, &[16, 8, 8]), [8, 4, 4]);
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
        refused(Head::ImageClassificationLearned, r#""d_latents": 8"#, "has no such start");
    }
}
