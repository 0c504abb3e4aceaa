//! A head that this crate does not know loads and saves as the others do.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed test may panic")]

use std::fs;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use perceiver_models::losses::{Labels, classification_loss};
use perceiver_models::{
    AnyPerceiver, ClassificationDecoder, Encoded, Error, LoadOptions, NoPostprocessor,
    PerceiverClassifierOutput, PerceiverConfig, PerceiverHead, PerceiverModel, Preprocessed,
    Preprocessor, Request,
};

/// Takes readings of sensors as tokens.
#[derive(Module, Debug)]
struct Readings {
    sensors: usize,
}

impl Preprocessor for Readings {
    type Input = Tensor<3>;

    fn channels(&self) -> usize {
        self.sensors
    }

    fn forward(&self, readings: Tensor<3>) -> Preprocessed {
        Preprocessed::from_content(readings)
    }
}

#[derive(Module, Debug)]
struct Gestures {
    perceiver: PerceiverModel<Readings, ClassificationDecoder>,
}

impl PerceiverHead for Gestures {
    const NAME: &'static str = "Gestures";

    type Input = Tensor<3>;
    type Labels = Labels;
    type Points = ();
    type Output = PerceiverClassifierOutput<Tensor<2>>;

    fn from_config(config: &PerceiverConfig, device: &Device) -> Result<Self, Error> {
        let sensors = config.field("sensors")?;
        config.validate_encoder(sensors)?;
        let decoder = config.classification_decoder().init(config.initialisation(), device);
        let preprocessor = Readings { sensors };
        let perceiver = PerceiverModel::new(config, preprocessor, decoder, NoPostprocessor, device);
        Ok(Self { perceiver })
    }

    fn encode(&self, request: impl Into<Request<Tensor<3>, Labels>>) -> Encoded {
        self.perceiver.encode(request.into().split_labels().0)
    }

    fn forward(&self, request: impl Into<Request<Tensor<3>, Labels>>) -> Self::Output {
        let (request, labels) = request.into().split_labels();
        let output = self.perceiver.forward(request);
        let loss = labels.map(|labels| classification_loss(output.logits.clone(), &labels, None));
        PerceiverClassifierOutput::new(output, loss)
    }
}

fn config() -> PerceiverConfig {
    let config = PerceiverConfig {
        num_latents: 3,
        d_latents: 8,
        num_self_attends_per_block: 1,
        num_cross_attention_heads: 2,
        ..PerceiverConfig::default()
    };
    config.with_field("sensors", 6)
}

fn saved() -> (tempfile::TempDir, Gestures) {
    let folder = tempfile::tempdir().unwrap();
    let head = Gestures::from_config(&config(), &Device::flex()).unwrap();
    head.save_pretrained(&config(), folder.path()).unwrap();
    (folder, head)
}

/// Changes config.json, and returns the one line with which the folder is refused.
fn refusal(folder: &Path, from: &str, to: &str) -> String {
    let path = folder.join("config.json");
    let original = fs::read_to_string(&path).unwrap();
    assert!(original.contains(from), "{original}");
    fs::write(&path, original.replace(from, to)).unwrap();
    let message = Gestures::from_pretrained(folder, &Device::flex()).unwrap_err().to_string();
    fs::write(&path, original).unwrap();
    assert!(!message.contains('\n') && message.contains(folder.to_str().unwrap()), "{message}");
    message
}

#[test]
fn what_is_saved_loads_with_its_own_name_and_fields() {
    let (folder, head) = saved();
    let loaded = Gestures::from_pretrained(folder.path(), &Device::flex()).unwrap();
    assert_eq!(loaded.config.architectures, ["Gestures"]);
    assert_eq!(loaded.config.field::<usize>("sensors").unwrap(), 6);
    assert!(loaded.report.fresh.is_empty());

    let readings = Tensor::<3>::random([2, 5, 6], Distribution::Default, &Device::flex());
    let labels = || Labels::Classes(Tensor::from_data([0, 1], &Device::flex()));
    let answer = |head: &Gestures| head.forward(Request::new(readings.clone()).labels(labels()));
    let [found, expected] = [&loaded.model, &head].map(answer);
    assert_eq!(found.logits.into_data(), expected.logits.into_data());
    assert_eq!(found.loss.unwrap().into_data(), expected.loss.unwrap().into_data());

    let copy = tempfile::tempdir().unwrap();
    loaded.save(copy.path()).unwrap();
    for name in ["config.json", "model.safetensors"] {
        let [first, second] = [&folder, &copy].map(|folder| fs::read(folder.path().join(name)));
        assert_eq!(first.unwrap(), second.unwrap(), "{name}");
    }
}

#[test]
fn a_head_for_other_labels_starts_from_all_that_fits() {
    let (folder, head) = saved();
    let id2label = (0..5).map(|index| (index, format!("gesture {index}"))).collect();
    let other = PerceiverConfig { id2label, ..config() };
    let load = |ignore_mismatched_sizes| {
        let options = LoadOptions { ignore_mismatched_sizes, ..LoadOptions::default() };
        Gestures::from_pretrained_for(folder.path(), &other, &Device::flex(), &options)
    };
    let loaded = load(true).unwrap();
    let mismatched: Vec<_> = loaded.report.mismatched.iter().map(ToString::to_string).collect();
    let layer = "perceiver.decoder.decoder.final_layer";
    let expected = [
        format!("{layer}.weight (is [2, 8], expected [5, 8])"),
        format!("{layer}.bias (is [2], expected [5])"),
    ];
    assert_eq!(mismatched, expected);
    let latents = |head: &Gestures, readings| head.encode(readings).encoder.last_hidden_state;
    let readings = Tensor::<3>::random([2, 5, 6], Distribution::Default, &Device::flex());
    let [found, kept] = [&loaded.model, &head].map(|head| latents(head, readings.clone()));
    assert_eq!(found.into_data(), kept.into_data());
    assert_eq!(loaded.model.forward(readings).logits.dims(), [2, 5]);

    loaded.save(folder.path()).unwrap();
    assert_eq!(load(false).unwrap().config.num_labels(), 5);
    let (folder, _) = saved();
    let options = LoadOptions::default();
    let refused = Gestures::from_pretrained_for(folder.path(), &other, &Device::flex(), &options);
    assert!(refused.unwrap_err().to_string().contains(&expected[0]));
}

#[test]
fn another_shape_or_head_is_refused_in_one_line() {
    let (folder, _) = saved();
    let message = refusal(folder.path(), r#""sensors": 6"#, r#""sensors": 8"#);
    assert!(message.contains("self.key.weight (is [6, 6], expected [8, 8])"), "{message}");
    let message = refusal(folder.path(), r#""sensors": 6"#, r#""sensors": 5"#);
    assert!(message.contains("`num_cross_attention_heads` is 2"), "{message}");
    let message = refusal(folder.path(), r#""sensors": 6"#, r#""sensors": "six""#);
    assert!(
        message.contains(r#"`sensors` cannot be read: invalid type: string "six""#),
        "{message}"
    );
    let message = refusal(folder.path(), r#""sensors": 6"#, r#""others": 6"#);
    assert!(message.contains("`sensors` is absent"), "{message}");
    let message = refusal(folder.path(), "Gestures", "PerceiverForMaskedLM");
    assert!(message.contains("names \"PerceiverForMaskedLM\", expected Gestures"), "{message}");
}

#[test]
fn programs_that_know_the_references_heads_alone_list_them() {
    let (folder, _) = saved();
    let loaded = AnyPerceiver::from_pretrained(folder.path(), &Device::flex());
    let message = loaded.unwrap_err().to_string();
    for part in ["config.json", "\"Gestures\"", "PerceiverModel", "PerceiverForMaskedLM"] {
        assert!(message.contains(part), "{message}");
    }
}

#[cfg(feature = "autodiff")]
#[test]
fn a_frozen_encoder_leaves_the_decoder_alone_to_learn() {
    use burn::module::{ModuleVisitor, Param};

    /// Names of the model's parts, with or without gradients.
    #[derive(Default)]
    struct Learned {
        path: Vec<String>,
        parts: [std::collections::BTreeSet<String>; 2],
    }
    impl ModuleVisitor for Learned {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let learned = usize::from(param.val().is_require_grad());
            self.parts[learned].insert(self.path[1].clone());
        }
    }
    let head = Gestures::from_config(&config(), &Device::flex().autodiff()).unwrap();
    let mut learned = Learned::default();
    perceiver_models::freeze_encoder(head).visit(&mut learned);
    let [frozen, learned] = learned.parts.map(|parts| parts.into_iter().collect::<Vec<_>>());
    assert_eq!(frozen, ["embeddings", "encoder"]);
    assert_eq!(learned, ["decoder"]);
}
