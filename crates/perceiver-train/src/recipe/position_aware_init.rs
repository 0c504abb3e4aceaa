mod grid;
mod role;
mod text;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use perceiver_models::{
    Head, PerceiverConfig, PerceiverForImageClassificationFourier,
    PerceiverForMultimodalAutoencoding, PerceiverForOpticalFlow,
};

use self::grid::{Grid, GridInit};
use self::role::Role;
use self::text::TextInit;
use super::whitening::whitening;

/// Initialises a fresh model so that each latent reads its own part of the input, and each query reads
/// the latents of its own part.
///
/// With the reference's random weights, every latent sees the whole input alike. A masked language
/// model then learns only the frequencies of bytes for thousands of steps, until it finds out, place
/// by place, which positions are neighbours. [`TextInit`] initialises models of texts instead,
/// [`GridInit`] those of images, frames and videos. Models of flow also [whiten](whitening) the
/// patches of their frames.
///
/// Training changes all of it; the model's shape and its parameters' names are the reference's.
///
/// # Errors
/// If the head's inputs have no such initialisation, or it needs more channels.
pub(super) fn spread_latents<M: Module>(
    model: M,
    head: Head,
    config: &PerceiverConfig,
    size: Option<[usize; 2]>,
) -> Result<M, String> {
    if matches!(head, Head::MaskedLm | Head::SequenceClassification) {
        let text = TextInit::new(config, head).map_err(refused)?;
        return Ok(set(model, |role, drawn| text.value(role, drawn)));
    }
    let grid = match (head, size) {
        (Head::OpticalFlow, _) => {
            let tokens = PerceiverForOpticalFlow::preprocessor_config(config);
            let [height, width] = PerceiverForOpticalFlow::decoder_config(config).image_shape;
            // Queries are the tokens.
            let before = tokens.content_channels();
            Grid::of(&tokens, [height, width].into())
                .and_then(|grid| GridInit::new(config, &grid, Some(before)))
        }
        (Head::ImageClassificationFourier, Some(size)) => {
            let tokens = PerceiverForImageClassificationFourier::preprocessor_config(config);
            Grid::of(&tokens, size.into()).and_then(|grid| GridInit::new(config, &grid, None))
        }
        (Head::MultimodalAutoencoding, _) => {
            let tokens = PerceiverForMultimodalAutoencoding::preprocessor_config(config).image;
            let decoder = PerceiverForMultimodalAutoencoding::decoder_config(config);
            let (_, [time, height, width]) = decoder.queries.image;
            // Queries are positions alone.
            let grid = tokens.token_grid([height, width]);
            let grid = grid.ok_or_else(|| format!("no patches of {height}x{width} pixels"));
            grid.and_then(|[rows, columns]| Grid::of(&tokens, vec![time, rows, columns]))
                .and_then(|grid| GridInit::new(config, &grid, Some(0)))
        }
        _ => Err(format!("{} has no position-aware initialisation", head.name())),
    };
    let mut grid = grid.map_err(refused)?;
    Ok(set(model, |role, drawn| match role {
        Role::Patches if head == Head::OpticalFlow => Some(whitening(drawn.dims())),
        _ => grid.value(role, drawn),
    }))
}

fn refused(reason: String) -> String {
    format!("`run.aligned_start`: {reason}")
}

/// Sets parameters of two axes to the function's value for their role and their random value, if it
/// has one.
fn set<M, F>(model: M, value: F) -> M
where
    M: Module,
    F: FnMut(Role, Tensor<2>) -> Option<TensorData>,
{
    model.map(&mut Setting { path: Vec::new(), value })
}

struct Setting<F> {
    path: Vec<String>,
    value: F,
}

impl<F: FnMut(Role, Tensor<2>) -> Option<TensorData>> ModuleMapper for Setting<F> {
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
        let Some(data) = (self.value)(Role::of(&self.path), drawn) else { return param };
        let device: Device = param.lazy_device();
        let id = param.id;
        param.transform_for_load(Tensor::from_data(data, &device), id)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use burn::tensor::{Distribution, Int, s};
    use perceiver_io::{MultimodalInput, OutputPoints};
    use perceiver_models::{
        PerceiverForMaskedLM, PerceiverForSequenceClassification, PerceiverHead, Request,
    };

    use super::*;

    fn config(fields: &str) -> PerceiverConfig {
        let shape = r#""model_type": "perceiver", "num_blocks": 1, "num_self_attends_per_block": 1,
            "num_self_attention_heads": 1, "num_cross_attention_heads": 1,
            "attention_probs_dropout_prob": 0"#;
        PerceiverConfig::from_json(&format!("{{{shape}, {fields}}}")).unwrap()
    }

    /// The mean place to which each query attends, from the `places` of keys.
    fn centres(map: Tensor<4>, places: &[f64]) -> Vec<f64> {
        let weights: Vec<f32> = map.mean_dim(1).into_data().iter().collect();
        let row =
            |row: &[f32]| row.iter().zip(places).map(|(&w, place)| f64::from(w) * place).sum();
        weights.chunks(places.len()).map(row).collect()
    }

    /// The place of the key to which each query of one head attends most.
    fn peaks(map: Tensor<4>, head: usize, places: &[f64]) -> Vec<f64> {
        let of_head = map.slice(s![.., head as i32, .., ..]);
        let weights: Vec<f32> = of_head.into_data().iter().collect();
        let place = |row: &[f32]| {
            let weighed = places.iter().zip(row).max_by(|a, b| a.1.total_cmp(b.1));
            *weighed.unwrap().0
        };
        weights.chunks(places.len()).map(place).collect()
    }

    fn initialised<H: PerceiverHead>(config: &PerceiverConfig, device: &Device) -> H {
        let head = H::NAME.parse().unwrap();
        spread_latents(H::from_config(config, device).unwrap(), head, config, None).unwrap()
    }

    /// Number of models: random weights differ, since other tests draw at the same time.
    const DRAWS: usize = 5;

    /// Fails unless the mean distance is below a limit; random weights give a quarter of all places.
    #[track_caller]
    fn assert_near(found: &[f64], expected: &[f64], distance: f64) {
        assert_eq!(found.len(), expected.len());
        let sum: f64 = found.iter().zip(expected).map(|(found, at)| (found - at).abs()).sum();
        let mean = sum / found.len() as f64;
        assert!(mean < distance, "{mean} away: {found:.1?}, not {expected:.1?}");
    }

    /// Centres of eight parts of a text of 32 bytes.
    fn parts() -> Vec<f64> {
        (0..8).map(|latent| f64::from(latent) * 4.0 + 2.0).collect()
    }

    #[test]
    fn heads_read_a_latents_part_byte_by_byte_and_bytes_read_the_latents_of_theirs() {
        let device = Device::flex();
        device.seed(1);
        let config = config(
            r#""num_latents": 8, "d_latents": 128, "d_model": 128, "max_position_embeddings": 32,
                "num_self_attention_heads": 4, "num_cross_attention_heads": 4,
                "initializer_range": 0.08"#,
        );
        let model: PerceiverForMaskedLM = initialised(&config, &device);
        let ids = Tensor::<1, Int>::arange(0..32, &device).mul_scalar(37).remainder_scalar(256);
        let ids = ids.add_scalar(6).unsqueeze::<2>();
        let output = model.forward(Request::new(ids).attentions());
        let maps = output.cross_attentions.unwrap();
        let positions: Vec<f64> = (0..32).map(f64::from).collect();
        for head in 0..4 {
            let bytes: Vec<_> = (0..8).map(|latent| f64::from(latent * 4 + head)).collect();
            assert_near(&peaks(maps[0].clone(), head as usize, &positions), &bytes, 0.5);
        }
        let parts = parts();
        assert_near(&centres(maps[1].clone(), &parts), &positions, 4.0);
        // Two of four heads look back and one ahead, from latents that have such neighbours.
        let neighbours = output.attentions.unwrap().swap_remove(0);
        for (head, distance) in [-2.0, -1.0, 0.0, 1.0].into_iter().enumerate() {
            let expected: Vec<_> = parts[2..7].iter().map(|part| part + 4.0 * distance).collect();
            assert_near(&peaks(neighbours.clone(), head, &parts)[2..7], &expected, 0.5);
        }
    }

    #[test]
    fn positions_of_a_text_fit_into_the_decoders_heads() {
        let device = Device::flex();
        device.seed(1);
        let config = config(
            r#""num_latents": 8, "d_latents": 512, "d_model": 512, "max_position_embeddings": 32"#,
        );
        let model: PerceiverForMaskedLM = initialised(&config, &device);
        let ids = Tensor::<1, Int>::arange(6..38, &device).unsqueeze::<2>();
        let maps = model.forward(Request::new(ids).attentions()).cross_attentions.unwrap();
        let parts = parts();
        // The middle head of eight reads at the byte's own place.
        let expected: Vec<_> = (0..32).map(f64::from).collect();
        assert_near(&peaks(maps[1].clone(), 4, &parts), &expected, 2.0);
    }

    #[test]
    fn a_text_classifier_starts_as_a_masked_language_model_and_keeps_its_query() {
        let device = Device::flex();
        device.seed(1);
        let config = config(
            r#""num_latents": 8, "d_latents": 64, "d_model": 64, "max_position_embeddings": 32"#,
        );
        let model: PerceiverForSequenceClassification = initialised(&config, &device);
        let ids = Tensor::<1, Int>::arange(6..38, &device).unsqueeze::<2>();
        let maps = model.forward(Request::new(ids).attentions()).cross_attentions.unwrap();
        let positions: Vec<f64> = (0..32).map(f64::from).collect();
        let parts = parts();
        assert_near(&peaks(maps[0].clone(), 0, &positions), &parts, 0.5);
        // The single query attends to all latents alike, as with random weights.
        assert_near(&centres(maps[1].clone(), &parts), &[16.0], 4.0);
    }

    #[test]
    fn a_text_classifier_starts_with_the_same_latent_for_the_same_bytes() {
        let device = Device::flex();
        device.seed(1);
        let config = config(
            r#""num_latents": 8, "d_latents": 128, "d_model": 128, "max_position_embeddings": 32,
                "num_cross_attention_heads": 4, "initializer_range": 0.08"#,
        );
        // Bytes repeat once per latent.
        let ids = Tensor::<1, Int>::arange(0..32, &device).remainder_scalar(4).add_scalar(70);
        let ids = ids.unsqueeze::<2>();
        let [mut difference, mut size] = [0.0; 2];
        for _ in 0..DRAWS {
            let model: PerceiverForSequenceClassification = initialised(&config, &device);
            let request = Request::new(ids.clone()).hidden_states().attentions();
            let states = model.forward(request).hidden_states.unwrap();
            // Two in the middle, without the channels of their places.
            let [one, other] = [3, 4].map(|latent| states[0].clone().slice(s![.., latent, 16..]));
            size += one.clone().square().sum().into_scalar::<f32>();
            difference += (one - other).square().sum().into_scalar::<f32>();
        }
        // Each head reads other bytes too, a little, and there are more of them on one side.
        let apart = (difference / size).sqrt();
        assert!(apart < 0.25, "{apart} of their size apart");
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
            let model: PerceiverForOpticalFlow = initialised(&config, &device);
            // Neighbours differ as they do in photos.
            let neighbours = Distribution::Uniform(-0.1, 0.1);
            let patches = Tensor::<5>::random([1, 2, 27, 16, 24], neighbours, &device);
            model
                .forward(Request::new(patches).attentions())
                .cross_attentions
                .unwrap()
                .swap_remove(0)
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
    fn latents_read_their_part_of_a_clip_and_pixels_read_the_latents_of_theirs() {
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
            let model: PerceiverForMultimodalAutoencoding = initialised(&config, &device);
            let uniform = Distribution::Uniform(-1.0, 1.0);
            let input = MultimodalInput {
                audio: Tensor::random([1, 128, 1], uniform, &device),
                image: Tensor::random([1, 8, 3, 32, 32], uniform, &device),
                label: Tensor::zeros([1, config.num_labels()], &device),
                hidden_labels: None,
            };
            let request = Request::new(input).points(points.clone()).attentions();
            let maps = model.forward(request).cross_attentions.unwrap();
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
    fn models_without_such_an_initialisation_are_refused() {
        let refused = |head, fields, expected: &str| {
            let model = burn::nn::LinearConfig::new(1, 1).init(&Device::flex());
            let reason = spread_latents(model, head, &config(fields), Some([28, 28])).unwrap_err();
            assert!(reason.contains(expected), "{reason}");
        };
        refused(
            Head::MaskedLm,
            r#""d_model": 8, "d_latents": 16"#,
            "`d_model` is 8, expected the 16",
        );
        refused(
            Head::SequenceClassification,
            r#""d_model": 16, "d_latents": 16"#,
            "heads have 16 channels of 16, expected 8 or more, of 64 or more",
        );
        refused(Head::OpticalFlow, r#""d_latents": 8"#, "`d_latents` is 8, expected 10");
        refused(
            Head::ImageClassificationLearned,
            r#""d_latents": 8"#,
            "has no position-aware initialisation",
        );
    }
}
