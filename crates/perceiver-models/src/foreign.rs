//! Recognises files and folders that are found in the place of a model's.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;

use crate::files::open_regular;

/// Bytes that [`file_kind`] looks at: the first block of a tar archive.
const START_BYTES: u64 = 512;

/// Most entries of a folder that are looked at.
const MAX_ENTRIES: usize = 10_000;

/// Most names in one message.
const MAX_NAMED: usize = 3;

/// Files that torch.save writes, by their first bytes.
const TORCH: [(&[u8], &str); 5] = [
    (b"PK\x03\x04", "a zip archive; if torch.save wrote it, name it pytorch_model.bin"),
    (b"\x80\x02", "a Python pickle; if torch.save wrote it, name it pytorch_model.bin"),
    (b"\x80\x03", "a Python pickle; if torch.save wrote it, name it pytorch_model.bin"),
    (b"\x80\x04", "a Python pickle; if torch.save wrote it, name it pytorch_model.bin"),
    (b"\x80\x05", "a Python pickle; if torch.save wrote it, name it pytorch_model.bin"),
];

/// Other kinds by their first bytes: what it is, and what to do.
const BINARY: [(&[u8], &str); 9] = [
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    (b"\xfd7zXZ\0", "an xz archive; unpack it"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it"),
    (b"BZh", "a bzip2 archive; unpack it"),
    (b"Rar!", "a rar archive; unpack it"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file of TensorFlow; save the model with PyTorch"),
    (b"GGUF", "a GGUF file; use the model that it was made from"),
    (b"%PDF", "a PDF; download the file itself"),
];

/// Kinds of text by how they begin, in lower case, after white space.
const TEXTS: [(&str, &str); 4] = [
    ("version https://git-lfs", "a Git LFS pointer; `git lfs pull` fetches the file itself"),
    ("<!doctype html", "an HTML page; download the file itself"),
    ("<html", "an HTML page; download the file itself"),
    ("<?xml", "an XML text; download the file itself"),
];

/// Files of a model in another framework, by the end of their names.
const OTHER_FRAMEWORKS: [(&str, &str); 7] = [
    (".h5", "TensorFlow"),
    (".ckpt.index", "TensorFlow"),
    ("saved_model.pb", "TensorFlow"),
    (".msgpack", "Flax"),
    (".onnx", "ONNX"),
    (".gguf", "GGUF"),
    (".tflite", "TensorFlow Lite"),
];

/// Ends of the names of weights that PyTorch writes.
const WEIGHTS: [(&str, &str); 5] = [
    (".safetensors", "model.safetensors"),
    (".bin", "pytorch_model.bin"),
    (".pt", "pytorch_model.bin"),
    (".pth", "pytorch_model.bin"),
    (".ckpt", "pytorch_model.bin"),
];

/// Starts of the names of files that hold the state of training, as the Trainer and accelerate write.
const STATES: [&str; 6] =
    ["training_args", "optimizer", "scheduler", "rng_state", "random_states", "scaler"];

/// The first bytes of a file; none if it cannot be read.
pub(crate) fn start(path: &Path) -> Option<Vec<u8>> {
    let mut start = Vec::new();
    open_regular(path).ok()?.take(START_BYTES).read_to_end(&mut start).ok()?;
    Some(start)
}

/// Says what a file is by its first bytes, and what to do about it, if it is neither JSON nor
/// weights.
pub(crate) fn file_kind(start: &[u8]) -> Option<&'static str> {
    other_kind(start).or_else(|| binary_kind(start, TORCH.iter().chain(&BINARY)))
}

/// The same for a file in the place of a pickle.
pub(crate) fn pickle_kind(start: &[u8]) -> Option<&'static str> {
    if is_safetensors(start) {
        return Some("a safetensors file; name it model.safetensors");
    }
    other_kind(start).or_else(|| binary_kind(start, BINARY.iter()))
}

/// True if eight bytes of length and JSON begin a file, which may look like the start of others.
fn is_safetensors(start: &[u8]) -> bool {
    matches!(start, [_, _, _, _, 0, 0, 0, 0, b'{', ..])
}

fn binary_kind<'a>(
    start: &[u8],
    mut kinds: impl Iterator<Item = &'a (&'static [u8], &'static str)>,
) -> Option<&'static str> {
    if is_safetensors(start) {
        return None;
    }
    kinds.find(|(magic, _)| start.starts_with(magic)).map(|(_, kind)| *kind)
}

fn other_kind(start: &[u8]) -> Option<&'static str> {
    if start.is_empty() {
        return Some("empty; download or copy it again");
    }
    if start.get(257..262) == Some(b"ustar") {
        return Some("a tar archive; unpack it");
    }
    let text = start.strip_prefix("\u{feff}".as_bytes()).unwrap_or(start).trim_ascii_start();
    let begins = |name: &str| {
        text.get(..name.len()).is_some_and(|text| text.eq_ignore_ascii_case(name.as_bytes()))
    };
    TEXTS.iter().find(|(name, _)| begins(name)).map(|(_, kind)| *kind)
}

/// Says what a folder without config.json is, and what to do about it.
pub(crate) fn folder_kind(folder: &Path) -> Option<String> {
    let names = names_in(folder);
    let models = names.iter().filter(|name| folder.join(name).join("config.json").is_file());
    let models: BTreeSet<&str> = models.map(String::as_str).collect();
    names_kind(names.iter().map(String::as_str)).or_else(|| {
        (!models.is_empty())
            .then(|| format!("holds models in folders of its own: {}", list(models)))
    })
}

/// Says what a folder without weights of a known name holds, and what to do about it.
pub(crate) fn folder_of_weights(folder: &Path) -> Option<String> {
    let names = names_in(folder);
    let names = || names.iter().map(String::as_str);
    names_kind(names()).or_else(|| other_weights(names()))
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().take(MAX_ENTRIES).flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Says what files of these names are, which may be in folders.
pub(crate) fn names_kind<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let tops: BTreeSet<&str> =
        names.map(|name| name.split('/').next().unwrap_or_default()).collect();
    let starts = |start: &str| tops.iter().any(|name| name.starts_with(start));
    if starts("adapter_config.json") || starts("adapter_model.") {
        return Some(
            "is an adapter of PEFT, not a whole model; merge_and_unload and save_pretrained write one"
                .into(),
        );
    }
    let step = |name: &&str| name.strip_prefix("checkpoint-")?.parse::<u64>().ok();
    let mut checkpoints: Vec<&str> =
        tops.iter().copied().filter(|name| step(name).is_some()).collect();
    checkpoints.sort_by_key(|name| std::cmp::Reverse(step(name)));
    if !checkpoints.is_empty() {
        let checkpoints = list(checkpoints);
        return Some(format!(
            "is a Trainer's output folder; pass one of its folders {checkpoints}"
        ));
    }
    if tops.contains("snapshots") && tops.contains("refs") {
        return Some("is a repository in the hub's cache; pass the hub id".into());
    }
    let ends = |(end, _): &&(&str, _)| tops.iter().any(|name| name.ends_with(end));
    let (_, framework) = OTHER_FRAMEWORKS.iter().find(ends)?;
    Some(format!("holds a model of {framework}; save it with PyTorch"))
}

/// Names weights that PyTorch may have written under another name than transformers.
pub(crate) fn other_weights<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let is_state = |name: &str| STATES.iter().any(|start| name.starts_with(start));
    let names: Vec<&str> = names.filter(|name| !is_state(name)).collect();
    if let Some(shard) = names.iter().find(|name| name.contains("-of-0")) {
        return Some(format!("has the shard {shard}, but no index of its shards"));
    }
    WEIGHTS.iter().find_map(|&(end, usual)| {
        let name = names.iter().find(|name| name.ends_with(end))?;
        Some(format!("has {name}; weights of this kind are read as {usual}"))
    })
}

fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.into_iter().collect();
    let more = if names.len() > MAX_NAMED { ", …" } else { "" };
    let shown: Vec<_> = names.into_iter().take(MAX_NAMED).collect();
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Option<String> {
        names_kind(names.iter().copied())
    }

    #[test]
    fn files_are_known_by_their_first_bytes() {
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        for (start, kind) in [
            (&b""[..], "empty"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
            (b"\n <!DOCTYPE HTML><html>", "an HTML page"),
            (b"<HTML>", "an HTML page"),
            ("\u{feff}<html>".as_bytes(), "an HTML page"),
            (b"PK\x03\x04\x14\0\0\0\x08\0", "a zip archive"),
            (b"\x80\x02}q\0.", "a Python pickle"),
            (b"\x1f\x8b\x08", "a gzip archive"),
            (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
            (&tar, "a tar archive"),
        ] {
            let found = file_kind(start).unwrap();
            assert!(found.starts_with(kind), "{found}, not {kind}");
        }
        assert_eq!(file_kind(b"{\"d_latents\": 8}"), None);
        // The length of a header may begin as other files do.
        assert_eq!(file_kind(b"\x1f\x8b\0\0\0\0\0\0{\"a\":{}}"), None);
        assert_eq!(file_kind(b"\x80\x02\0\0\0\0\0\0{\"a\":{}}"), None);
        assert!(pickle_kind(b"\x20\0\0\0\0\0\0\0{\"a\":{}}").unwrap().contains("safetensors"));
        assert_eq!(pickle_kind(b"PK\x03\x04"), None);
    }

    #[test]
    fn folders_are_known_by_their_files() {
        for (files, part) in [
            (&["adapter_config.json", "adapter_model.safetensors"][..], "adapter of PEFT"),
            (&["checkpoint-500/config.json", "checkpoint-1000/config.json"], "checkpoint-1000, "),
            (&["refs", "snapshots", "blobs"], "the hub's cache"),
            (&["config.json", "tf_model.h5"], "TensorFlow"),
            (&["config.json", "flax_model.msgpack"], "Flax"),
        ] {
            let found = names(files).unwrap();
            assert!(found.contains(part), "{found}");
        }
        assert_eq!(names(&["config.json", "README.md", "checkpoint-best.txt"]), None);
        let state = ["config.json", "training_args.bin", "optimizer.pt", "rng_state.pth"];
        assert_eq!(other_weights(state.into_iter()), None);
        let shards = ["config.json", "model-00001-of-00002.safetensors"];
        let found = other_weights(shards.into_iter()).unwrap();
        assert!(found.ends_with("model-00001-of-00002.safetensors, but no index of its shards"));
        for (name, usual) in
            [("last.ckpt", "pytorch_model.bin"), ("model.fp16.safetensors", "model.safetensors")]
        {
            let found = other_weights(["config.json", name].into_iter()).unwrap();
            assert_eq!(found, format!("has {name}; weights of this kind are read as {usual}"));
        }
    }

    #[test]
    fn a_folder_of_models_lists_them() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("config.json"), "{}").unwrap();
        }
        let found = folder_kind(folder.path()).unwrap();
        assert_eq!(found, "holds models in folders of its own: a, b");
    }
}
