//! Memory of loading and a full disk while saving, each in a process of its own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed test may panic")]

mod support;

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use perceiver_models::{
    Checkpoint, KeyMap, LoadOptions, PerceiverConfig, SaveOptions, load_module, save_pretrained,
};
use support::{Small, safetensors, small_tensors};

/// Names the folder a child process works in; absent in the test runner itself.
const FOLDER: &str = "PERCEIVER_TEST_FOLDER";

/// Runs one of the tests here again, as a child, after a line of shell.
fn child(test: &str, folder: &Path, shell: &str) -> Output {
    Command::new("sh")
        .args(["-c", &format!("{shell} exec \"$0\" --exact {test} --nocapture")])
        .arg(env::current_exe().unwrap())
        .env(FOLDER, folder)
        .output()
        .unwrap()
}

fn assert_success(output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

const WIDTH: usize = 2048;
const ROWS: usize = 8 * 1024;
/// The largest tensor, the embeddings, and all of them, in bytes.
const LARGEST: usize = ROWS * WIDTH * 4;
const MODEL: usize = LARGEST + 8 * WIDTH * WIDTH * 4;

#[derive(Module, Debug)]
struct Large {
    embeddings: Embedding,
    layers: Vec<Linear>,
}

impl Large {
    fn new() -> Self {
        let device = support::device();
        let layer = || LinearConfig::new(WIDTH, WIDTH).with_bias(false).init(&device);
        Self {
            embeddings: EmbeddingConfig::new(ROWS, WIDTH).init(&device),
            layers: (0..8).map(|_| layer()).collect(),
        }
    }
}

/// A file of zeros with holes, which takes no disk.
fn write_large(path: &Path) {
    let mut header = String::from("{");
    let mut offset = 0;
    let mut tensor = |key: String, rows: usize| {
        let end = offset + rows * WIDTH * 4;
        let comma = if offset == 0 { "" } else { "," };
        header += &format!(
            r#"{comma}"{key}":{{"dtype":"F32","shape":[{rows},{WIDTH}],"data_offsets":[{offset},{end}]}}"#
        );
        offset = end;
    };
    tensor("embeddings.weight".into(), ROWS);
    (0..8).for_each(|i| tensor(format!("layers.{i}.weight"), WIDTH));
    header.push('}');
    let mut file = File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len((8 + header.len() + MODEL) as u64).unwrap();
}

#[test]
fn loading_needs_the_model_its_largest_tensor_and_little_more() {
    const NAME: &str = "loading_needs_the_model_its_largest_tensor_and_little_more";
    if let Some(folder) = env::var_os(FOLDER) {
        let checkpoint = Checkpoint::open(folder).unwrap();
        let options = LoadOptions::default();
        let (large, _) =
            load_module(Large::new(), &checkpoint, &KeyMap::PERCEIVER, &options).unwrap();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
        let limit = MODEL + LARGEST + (100 << 20);
        assert!(large.num_params() * 4 == MODEL);
        assert!(peak * 1024 < limit, "{} MB of {} MB", peak >> 10, limit >> 20);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    write_large(&folder.path().join("model.safetensors"));
    assert_success(&child(NAME, folder.path(), ""));
}

#[test]
fn a_full_disk_leaves_the_old_model_and_no_empty_folder() {
    const NAME: &str = "a_full_disk_leaves_the_old_model_and_no_empty_folder";
    let folder = tempfile::tempdir().unwrap();
    let path = env::var_os(FOLDER).map_or(folder.path().to_path_buf(), Into::into);
    let checkpoint = |path: &Path| Checkpoint::open(path).unwrap();
    let load = |checkpoint: &Checkpoint| {
        load_module(Small::new(), checkpoint, &KeyMap::PERCEIVER, &LoadOptions::default())
    };
    let listing = || {
        let mut files: Vec<_> = fs::read_dir(&path).unwrap().flatten().map(|f| f.path()).collect();
        files.sort();
        files.into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect::<Vec<_>>()
    };
    if env::var_os(FOLDER).is_some() {
        let before = listing();
        let (module, _) = load(&checkpoint(&path)).unwrap();
        let config = PerceiverConfig { d_model: 8, ..PerceiverConfig::default() };
        for max_shard_size in [None, Some(300)] {
            let options = SaveOptions { dtype: None, max_shard_size };
            let saved = save_pretrained(&module, &config, &path, &KeyMap::PERCEIVER, &options);
            let message = saved.unwrap_err().to_string();
            assert!(message.contains(path.to_str().unwrap()), "{message}");
            assert!(message.contains("cannot write") && !message.contains('\n'), "{message}");
            assert_eq!(listing(), before);
            let absent = path.join("absent");
            let saved = save_pretrained(&module, &config, &absent, &KeyMap::PERCEIVER, &options);
            assert!(saved.is_err() && !absent.exists());
        }
        return;
    }
    fs::write(path.join("model.safetensors"), safetensors(&small_tensors())).unwrap();
    fs::write(path.join("config.json"), "{}").unwrap();
    // No file may grow beyond 512 bytes, nor the process be killed for trying.
    assert_success(&child(NAME, &path, "trap '' XFSZ; ulimit -f 1;"));
}
