//! The head for any data: its encoder gives krasserm's numbers, the whole head those of a PyTorch module
//! with its gradients (`generate/any_data.py`), and answers do not depend on padding or order.

use std::path::PathBuf;

use burn::module::Module as _;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use perceiver_models::any_data::{
    AnyDataConfig, AnyDataInput, AnyDataLabels, ModalityConfig, ModalityData, ModalityInput,
};
use perceiver_models::losses::Labels;
use perceiver_models::{
    AnyPerceiver, Checkpoint, EncoderConfig, ForwardOptions, KeyMap, KeyMask, LoadOptions,
    NamedTensors, NoDecoder, NoPostprocessor, NoPreprocessor, OutputOptions, PerceiverConfig,
    PerceiverForAnyData, PerceiverHead, PerceiverModel, Pretrained, Repeats, Request, load_module,
};
use perceiver_tests::{Gradients, TOLERANCE, compare, devices, difference, fixtures, read_tensors};

/// Single precision against double.
const GRADIENT_TOLERANCE: f64 = 1e-4;
/// A bias of keys affects no probability, so its gradient is rounding error.
const WITHOUT_INFLUENCE: &str = "attention.self.key.bias";
const CASES: [&str; 8] = [
    "several",
    "table_regression",
    "point_labels",
    "volume_and_outline",
    "step_labels",
    "series_reconstruction",
    "token_reconstruction",
    "wave_reconstruction",
];

fn folder(case: &str) -> PathBuf {
    fixtures("any_data").join(case)
}

/// A head with the weights of a case.
fn head(case: &str, device: &Device) -> PerceiverForAnyData {
    let config =
        PerceiverConfig::from_pretrained(folder(case)).expect("the configuration is valid");
    let fresh = PerceiverForAnyData::from_config(&config, device).expect("it can be built");
    let weights = Checkpoint::open(folder(case)).expect("it opens");
    let options = LoadOptions::default();
    load_module(fresh, &weights, &KeyMap::PERCEIVER, &options).expect("it loads").0
}

#[test]
fn interleaved_cross_attentions_give_the_numbers_of_krasserms_encoder() {
    let cases = [
        ("encoder_one", 1, 2, false, true),
        ("encoder_all_shared", 3, 3, true, true),
        ("encoder_first_cross_attention", 2, 3, false, true),
        ("encoder_first_block", 2, 3, true, false),
        ("encoder_nothing_shared", 3, 4, false, false),
    ];
    for (_, device) in devices() {
        for (name, cross_attentions, blocks, first_cross_attention_shared, first_block_shared) in
            cases
        {
            let config = PerceiverConfig {
                num_latents: 3,
                d_latents: 8,
                d_model: 6,
                num_blocks: blocks,
                num_self_attends_per_block: 2,
                num_self_attention_heads: 4,
                num_cross_attention_heads: 2,
                qk_channels: Some(8),
                self_attention_widening_factor: 2,
                ..PerceiverConfig::default()
            };
            let repeats =
                Repeats { cross_attentions, first_cross_attention_shared, first_block_shared };
            let encoder = EncoderConfig { repeats, ..config.encoder(6) };
            let fresh = PerceiverModel::with_encoder(
                &config,
                &encoder,
                NoPreprocessor::new(6),
                NoDecoder,
                NoPostprocessor,
                &device,
            );
            let weights = fixtures("any_data").join(format!("{name}.weights.safetensors"));
            let weights = Checkpoint::open(weights).expect("it opens");
            let options = LoadOptions::default();
            let (model, _) =
                load_module(fresh, &weights, &KeyMap::PERCEIVER, &options).expect("it loads");
            let case = read_tensors(&fixtures("any_data").join(format!("{name}.safetensors")));
            let inputs = Tensor::<3>::from_data(case["inputs"].clone(), &device);
            let kept = Tensor::<2, Int>::from_data(case["kept"].clone(), &device);
            let request = Request::new(inputs).mask(KeyMask::from_attention_mask(kept));
            let found = model.encode(request).encoder.last_hidden_state.into_data();
            let off = difference(&found, &case["output"]).expect("they can be compared");
            assert!(off <= TOLERANCE, "{name} differs by {off:.1e}");
        }
    }
}

#[test]
fn every_kind_of_input_and_output_gives_pytorchs_numbers() {
    for (_, device) in devices() {
        for case in CASES {
            let Pretrained { model, config, .. } =
                AnyPerceiver::from_pretrained(folder(case), &device).expect("it loads");
            let outputs = OutputOptions { hidden_states: true, attentions: true };
            let options = ForwardOptions { outputs, ..ForwardOptions::default() };
            let inputs = read_tensors(&folder(case).join("inputs.safetensors"));
            let found = model.forward(inputs, &config, options, &device).expect("it runs");
            let expected = read_tensors(&folder(case).join("outputs.safetensors"));
            let (differences, _) = compare(&found, &expected, TOLERANCE);
            assert!(differences.is_empty(), "{case}:\n{}", differences.join("\n"));
        }
    }
}

/// The input of a case, whose files hold the tensors by name.
fn input(case: &str, config: &AnyDataConfig, device: &Device) -> AnyDataInput {
    let tensors = read_tensors(&folder(case).join("inputs.safetensors"));
    let data = |name: &str, part: &str| tensors.get(&format!("inputs.{name}{part}")).cloned();
    let modalities = config.modalities.iter().map(|modality| {
        let name = modality.name();
        let given = data(name, "");
        let values = || given.clone().expect("every modality but bare points has values");
        let ids = |data: TensorData| Tensor::<2, Int>::from_data(data, device);
        let data_of = match modality {
            ModalityConfig::Series(_) => ModalityData::Series(Tensor::from_data(values(), device)),
            ModalityConfig::Grid(_) => ModalityData::Grid(Tensor::from_data(values(), device)),
            ModalityConfig::Tokens(_) => ModalityData::Tokens(ids(values())),
            ModalityConfig::Table(_) => ModalityData::Table {
                numbers: Tensor::from_data(values(), device),
                categories: ids(data(name, ".categories").expect("the row has categories")),
            },
            ModalityConfig::Points(_) => {
                let coordinates = data(name, ".coordinates").expect("points have coordinates");
                ModalityData::Points {
                    coordinates: Tensor::from_data(coordinates, device),
                    features: given.map(|values| Tensor::from_data(values, device)),
                }
            }
        };
        let padding = data(name, ".padding").map(|padding| ids(padding).equal_elem(1));
        ModalityInput::new(data_of).padding(padding)
    });
    AnyDataInput::new(modalities.collect())
}

fn saved(case: &str, head: &PerceiverForAnyData) -> NamedTensors {
    let config =
        PerceiverConfig::from_pretrained(folder(case)).expect("the configuration is valid");
    let target = tempfile::tempdir().expect("a folder");
    head.save_pretrained(&config, target.path()).expect("it can be saved");
    read_tensors(&target.path().join("model.safetensors"))
}

#[test]
fn losses_and_gradients_are_pytorchs() {
    for (_, device) in devices().into_iter().filter(|(name, _)| *name != "wgpu") {
        let device = device.autodiff();
        for case in CASES {
            let head = head(case, &device);
            let mut input = input(case, head.any_data(), &device);
            let training = read_tensors(&folder(case).join("training.safetensors"));
            let labels = training["labels"].clone();
            let labels = match case {
                "several" => {
                    Some(AnyDataLabels::Whole(Labels::Classes(Tensor::from_data(labels, &device))))
                }
                "table_regression" | "volume_and_outline" => {
                    Some(AnyDataLabels::Whole(Labels::Values(Tensor::from_data(labels, &device))))
                }
                "point_labels" | "step_labels" => {
                    Some(AnyDataLabels::Elements(Tensor::from_data(labels, &device)))
                }
                _ => {
                    let masked = Tensor::<2, Int>::from_data(labels, &device);
                    input.masked = Some(masked.equal_elem(1));
                    None
                }
            };
            let mut request = Request::new(input);
            request.labels = labels;
            let loss = head.forward(request).loss.expect("it has a loss");
            let mut gradients = Gradients::of(loss.clone(), &head);
            let number = |data: &TensorData| data.iter::<f64>().next().expect("a number");
            let (found, expected) = (number(&loss.into_data()), number(&training["loss"]));
            assert!((found - expected).abs() <= GRADIENT_TOLERANCE * expected, "{case}: {found}");

            let found = saved(case, &head.map(&mut gradients));
            let prefix = "gradients.";
            let known = training.keys().filter(|key| key.starts_with(prefix)).count();
            assert_eq!(found.len(), known, "{case} has other parameters");
            for (key, gradient) in &found {
                let expected = &training[&format!("{prefix}{key}")];
                if !key.ends_with(WITHOUT_INFLUENCE) {
                    let off = difference(gradient, expected).expect("they can be compared");
                    assert!(off <= GRADIENT_TOLERANCE, "{case}: {key} differs by {off:.1e}");
                }
            }
        }
    }
}

/// Rows of a batch in another order, along the elements.
fn reordered(values: Tensor<3>, order: &[i64]) -> Tensor<3> {
    let device = values.device();
    values.select(1, Tensor::<1, Int>::from_data(order, &device))
}

#[test]
fn labels_of_points_follow_their_points_and_ignore_padding() {
    let (_, device) = devices().remove(0);
    let head = head("point_labels", &device);
    let given = input("point_labels", head.any_data(), &device);
    let expected = head.forward(given.clone()).logits;
    let ModalityInput { data, padding } = given.modalities[0].clone();
    let ModalityData::Points { coordinates, features } = data else { panic!("no points") };
    // Two more points of padding, and the others in another order.
    let order = [3, 0, 4, 1, 2];
    let filled = |values: Tensor<3>| {
        let more = values.clone().narrow(1, 0, 2).mul_scalar(7.0);
        Tensor::cat(vec![reordered(values, &order), more], 1)
    };
    let padding = padding.expect("the second cloud is smaller").int();
    let padding = padding.select(1, Tensor::<1, Int>::from_data(order, &device));
    let more = Tensor::<2, Int>::ones([2, 2], &device);
    let padding: Tensor<2, Bool> = Tensor::cat(vec![padding, more], 1).bool();
    let data =
        ModalityData::Points { coordinates: filled(coordinates), features: features.map(filled) };
    let input = AnyDataInput::new(vec![ModalityInput::new(data).padding(padding)]);
    let found = head.forward(input).logits.narrow(1, 0, 5).into_data();
    let expected = reordered(expected, &order).into_data();
    assert!(difference(&found, &expected).expect("they can be compared") <= TOLERANCE);
}

#[test]
fn a_configuration_that_cannot_be_built_is_refused_in_one_line() {
    let refused = |case: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(folder(case).join("config.json")).expect("it is there");
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from} is not in {case}");
        PerceiverConfig::from_json(&changed).expect_err(to).to_string()
    };
    for (case, from, to, expected) in [
        (
            "several",
            r#""num_cross_attention_layers": 2"#,
            r#""num_cross_attention_layers": 4"#,
            "`num_cross_attention_layers` is 4, expected 1 to `num_blocks` = 3",
        ),
        (
            "several",
            r#""name": "row""#,
            r#""name": "text""#,
            "`modalities` names \"text\" twice, expected once",
        ),
        (
            "several",
            r#""name": "city""#,
            r#""name": "age""#,
            "`modalities.1.columns` names \"age\" twice, expected once",
        ),
        (
            "point_labels",
            r#""modality": "cloud""#,
            r#""modality": "clouds""#,
            "`output.modality` names \"clouds\", expected one of `modalities`",
        ),
        (
            "point_labels",
            r#""scale": 2.5"#,
            r#""scale": 0.0"#,
            "`modalities.0.scale` is 0, expected more than 0",
        ),
        (
            "series_reconstruction",
            r#""max_length": 6"#,
            r#""max_length": 0"#,
            "`modalities.0.max_length` is 0, expected 1 to 16777216",
        ),
        ("several", r#""0": "no""#, r#""7": "no""#, "`id2label` has class 1, expected 0"),
        ("several", r#""yes""#, r#""no""#, "`id2label` names \"no\" twice, expected once"),
        ("several", r#""Rome""#, r#""Oslo""#, "names \"Oslo\" twice, expected once"),
        ("several", r#""name": "row""#, r#""name": "a\n.b""#, "names \"a\\n.b\", expected a name"),
        (
            "point_labels",
            r#""resolution": ["#,
            r#""resolution": [0,"#,
            "`modalities.0.position.resolution` has 3 numbers, expected 2",
        ),
        (
            "table_regression",
            "25.0",
            "1e-60",
            "`output` has a deviation of 1e-60, expected more than 0 in single precision",
        ),
        ("table_regression", "100.0", "1e300", "`output` has a mean of 1e300, expected a number"),
        ("table_regression", r#""area""#, r#""price""#, "`output.targets` names \"price\" twice"),
        ("series_reconstruction", r#""series""#, r#""sequence""#, "`modalities` cannot be read"),
    ] {
        let error = refused(case, from, to);
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
}
