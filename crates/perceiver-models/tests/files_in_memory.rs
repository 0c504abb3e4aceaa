//! Models load from files in memory as from folders, and are refused for the same reasons.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed test may panic")]

mod support;

use std::fs;
use std::path::Path;

use burn::tensor::{Int, Tensor};
use perceiver_models::{AnyPerceiver, Checkpoint, LoadReport, PerceiverForMaskedLM, PerceiverHead};
use support::{fixture, folder_with, safetensors, small_tensors};

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const CONFIG: &str = "config.json";

/// The files of a folder.
fn read(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let file = |path: std::path::PathBuf| {
        (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap())
    };
    files.map(file).collect()
}

fn borrowed(files: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
    files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect()
}

/// The two messages with which files are refused, in a folder and in memory.
fn refusals(files: &[(&str, &[u8])]) -> [String; 2] {
    let folder = folder_with(files);
    let device = support::device();
    let on_disk = AnyPerceiver::from_pretrained(folder.path(), &device).unwrap_err();
    let in_memory = AnyPerceiver::from_files(files, &device).unwrap_err();
    let folder = format!("{}/", folder.path().display());
    [on_disk.to_string().replace(&folder, ""), in_memory.to_string()]
}

#[test]
fn a_head_in_memory_is_the_head_of_the_folder() {
    let device = support::device();
    let folder = fixture("masked_lm");
    let files = read(&folder);
    let on_disk = PerceiverForMaskedLM::from_pretrained(&folder, &device).unwrap();
    let in_memory = PerceiverForMaskedLM::from_files(&borrowed(&files), &device).unwrap();
    assert_eq!(in_memory.config, on_disk.config);
    assert_eq!(in_memory.report.path.to_str(), Some("model.safetensors"));
    let report = LoadReport { path: on_disk.report.path.clone(), ..in_memory.report };
    assert_eq!(report, on_disk.report);
    let ids = Tensor::<2, Int>::from_data([[1, 2, 3]], &device);
    let [found, expected] =
        [in_memory.model, on_disk.model].map(|model| model.forward(ids.clone()).logits.into_data());
    assert_eq!(found, expected);
}

#[test]
fn every_tensor_of_shards_in_memory_is_that_of_the_folder() {
    let folder = fixture("format_sharded");
    let files = read(&folder);
    let files = borrowed(&files);
    let [on_disk, in_memory] =
        [Checkpoint::open(&folder).unwrap(), Checkpoint::from_files(&files).unwrap()];
    assert_eq!(in_memory.path(), Path::new(INDEX));
    assert!(in_memory.tensors().count() > 20);
    assert!(in_memory.tensors().eq(on_disk.tensors()));
    for (key, _) in on_disk.tensors() {
        assert_eq!(in_memory.read(key).unwrap(), on_disk.read(key).unwrap(), "{key}");
    }
    assert!(AnyPerceiver::from_files(&files, &support::device()).is_ok());
}

#[test]
fn damaged_files_in_memory_are_refused_as_those_of_a_folder_are() {
    let folder = fixture("masked_lm");
    let config = fs::read(folder.join(CONFIG)).unwrap();
    let weights = fs::read(folder.join(WEIGHTS)).unwrap();
    let mut header_beyond = weights.clone();
    header_beyond[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut no_json = weights.clone();
    no_json[8] = b'!';
    let longer = [weights.as_slice(), &[0]].concat();
    let others = safetensors(&small_tensors());
    let index = br#"{"weight_map": {"a": "b.safetensors"}}"#;
    for (damage, expected) in [
        ([(CONFIG, &config[..]), (WEIGHTS, &weights[..7])], "7 bytes long"),
        ([(CONFIG, &config), (WEIGHTS, &weights[..weights.len() / 2])], "its header describes"),
        ([(CONFIG, &config), (WEIGHTS, &longer)], "its header describes"),
        ([(CONFIG, &config), (WEIGHTS, &header_beyond)], "claims a header of"),
        ([(CONFIG, &config), (WEIGHTS, &no_json)], "damaged header"),
        ([(CONFIG, &config), (WEIGHTS, &others)], "missing"),
        ([(CONFIG, &config), (INDEX, index)], "the missing shard b.safetensors"),
        ([(CONFIG, &config), (INDEX, b"{")], "not JSON at line 1"),
        ([(CONFIG, b"{\"d_model\": \xff}"), (WEIGHTS, &weights)], "not UTF-8 text at byte 12"),
        ([(CONFIG, b"{"), (WEIGHTS, &weights)], "not JSON at line 1"),
        ([(CONFIG, b"{}"), (WEIGHTS, &weights)], "`architectures` is absent"),
    ] {
        let [on_disk, in_memory] = refusals(&damage);
        assert!(in_memory.contains(expected) && !in_memory.contains('\n'), "{in_memory}");
        assert_eq!(in_memory, on_disk);
    }
}

#[test]
fn settings_in_memory_have_the_size_limits_of_a_folder() {
    let folder = fixture("masked_lm");
    let config = fs::read(folder.join(CONFIG)).unwrap();
    let weights = fs::read(folder.join(WEIGHTS)).unwrap();
    let huge = vec![b' '; (64 << 20) + 1];
    for (name, damage) in [
        (CONFIG, [(CONFIG, &huge[..]), (WEIGHTS, &weights[..])]),
        (INDEX, [(CONFIG, &config), (INDEX, &huge)]),
    ] {
        let [on_disk, in_memory] = refusals(&damage);
        assert_eq!(in_memory, format!("{name}: is longer than 67108864 bytes"));
        assert_eq!(in_memory, on_disk);
    }
}

#[test]
fn a_file_that_is_given_twice_is_named() {
    let files = read(&fixture("format_sharded"));
    let files = borrowed(&files);
    let shard = files.iter().map(|(name, _)| *name).find(|name| name.ends_with(".safetensors"));
    for name in [CONFIG, INDEX, shard.unwrap()] {
        let mut twice = files.clone();
        twice.push((name, b"{}"));
        let refused = AnyPerceiver::from_files(&twice, &support::device()).unwrap_err();
        assert_eq!(refused.to_string(), format!("{name}: is given twice"));
    }
}

#[test]
fn a_file_that_is_not_given_is_named() {
    let config = fs::read(fixture("masked_lm").join(CONFIG)).unwrap();
    let message = |files: &[(&str, &[u8])]| {
        AnyPerceiver::from_files(files, &support::device()).unwrap_err().to_string()
    };
    assert_eq!(message(&[]), "config.json: is not among the files");
    let expected = format!("{WEIGHTS}: is not among the files, and neither is {INDEX}");
    assert_eq!(message(&[(CONFIG, &config)]), expected);
}
