//! Checkpoints that transformers wrote, through every head and back.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed test may panic")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use burn::tensor::FloatDType;
use perceiver_models::{
    Checkpoint, Head, LoadOptions, PerceiverConfig, PerceiverForAnyData,
    PerceiverForImageClassificationConvProcessing, PerceiverForImageClassificationFourier,
    PerceiverForImageClassificationLearned, PerceiverForMaskedLM,
    PerceiverForMultimodalAutoencoding, PerceiverForOpticalFlow,
    PerceiverForSequenceClassification, PerceiverHead, PerceiverModel, SaveOptions,
};
use support::fixture;

fn convert<H: PerceiverHead>(from: &Path, to: &Path, options: &SaveOptions) {
    let loading = LoadOptions { dtype: None, ..LoadOptions::default() };
    let pretrained = H::from_pretrained_with(from, &support::device(), &loading)
        .unwrap_or_else(|error| panic!("{error}"));
    pretrained.save_with(to, options).unwrap();
}

fn convert_head(from: &Path, to: &Path, options: &SaveOptions) -> Head {
    let head = PerceiverConfig::from_pretrained(from).unwrap().head().unwrap();
    match head {
        Head::Model => convert::<PerceiverModel>(from, to, options),
        Head::MaskedLm => convert::<PerceiverForMaskedLM>(from, to, options),
        Head::SequenceClassification => {
            convert::<PerceiverForSequenceClassification>(from, to, options)
        }
        Head::ImageClassificationLearned => {
            convert::<PerceiverForImageClassificationLearned>(from, to, options)
        }
        Head::ImageClassificationFourier => {
            convert::<PerceiverForImageClassificationFourier>(from, to, options)
        }
        Head::ImageClassificationConvProcessing => {
            convert::<PerceiverForImageClassificationConvProcessing>(from, to, options)
        }
        Head::OpticalFlow => convert::<PerceiverForOpticalFlow>(from, to, options),
        Head::MultimodalAutoencoding => {
            convert::<PerceiverForMultimodalAutoencoding>(from, to, options)
        }
        Head::AnyData => convert::<PerceiverForAnyData>(from, to, options),
        other => panic!("no test of {other}"),
    }
    head
}

#[test]
fn every_head_is_written_back_bit_for_bit() {
    let mut heads = BTreeSet::new();
    let mut folders: Vec<_> = [fixture("."), fixture("../any_data")]
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    for folder in folders {
        let Ok(original) = Checkpoint::open(&folder) else {
            continue;
        };
        let target = tempfile::tempdir().unwrap();
        let options = SaveOptions { dtype: None, max_shard_size: Some(20_000) };
        heads.insert(convert_head(&folder, target.path(), &options).name());
        let written = Checkpoint::open(target.path()).unwrap();
        let described = |checkpoint: &Checkpoint| {
            let tensors = checkpoint.tensors();
            tensors.map(|(key, info)| (key.to_owned(), info.clone())).collect::<Vec<_>>()
        };
        assert_eq!(described(&written), described(&original), "{}", folder.display());
        for (key, _) in original.tensors() {
            let (ours, theirs) = (written.read(key).unwrap(), original.read(key).unwrap());
            assert_eq!(ours.as_bytes(), theirs.as_bytes(), "{} {key}", folder.display());
        }
        let config = |folder: &Path| PerceiverConfig::from_pretrained(folder).unwrap();
        assert_eq!(config(target.path()), config(&folder), "{}", folder.display());
    }
    assert_eq!(heads.len(), Head::NAMES.len(), "{heads:?}");
}

#[test]
fn half_precision_weights_come_back_from_single_precision() {
    let target = tempfile::tempdir().unwrap();
    let options = SaveOptions { dtype: Some(FloatDType::F16), max_shard_size: None };
    let from = fixture("format_float16");
    convert_head(&from, target.path(), &options);
    let (written, original) =
        (Checkpoint::open(target.path()).unwrap(), Checkpoint::open(from).unwrap());
    for (key, _) in original.tensors() {
        assert_eq!(written.read(key).unwrap(), original.read(key).unwrap(), "{key}");
    }
}
