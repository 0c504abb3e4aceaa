//! Checkpoint files: what is listed, read and refused.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed test may panic")]

mod support;

use std::path::Path;

use burn::tensor::DType;
use perceiver_models::Checkpoint;
use proptest::prelude::*;
use support::{Raw, fixture, folder_with, raw, safetensors, small_tensors};

const SAFETENSORS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

fn refusal(path: impl AsRef<Path>) -> String {
    let message = Checkpoint::open(path).unwrap_err().to_string();
    assert!(!message.contains('\n') && message.len() < 500, "{message}");
    message
}

fn assert_refused(files: &[(&str, &[u8])], parts: &[&str]) {
    let folder = folder_with(files);
    let message = refusal(folder.path());
    assert!(parts.iter().all(|part| message.contains(part)), "{message}");
}

/// A file with any header before `data` bytes.
fn with_header(header: &str, data: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.resize(file.len() + data, 0);
    file
}

fn assert_same(folder: &str, reference: &str) {
    let checkpoint = Checkpoint::open(fixture(folder)).unwrap();
    let reference = Checkpoint::open(fixture(reference)).unwrap();
    let keys = |checkpoint: &Checkpoint| {
        checkpoint.tensors().map(|(key, info)| (key.to_owned(), info.clone())).collect::<Vec<_>>()
    };
    assert_eq!(keys(&checkpoint), keys(&reference), "{folder}");
    assert!(keys(&checkpoint).len() > 20);
    for (key, _) in reference.tensors() {
        assert_eq!(checkpoint.read(key).unwrap(), reference.read(key).unwrap(), "{folder} {key}");
    }
}

#[test]
fn every_format_holds_the_same_tensors() {
    assert_same("format_pickle_zip_float32", "format_sharded");
    assert_same("format_pickle_legacy_float32", "format_sharded");
    assert_same("format_pickle_views", "format_sharded");
    assert_same("format_pickle_zip_float16", "format_float16");
    assert_same("format_pickle_legacy_float16", "format_float16");
    assert_same("format_pickle_zip_bfloat16", "format_bfloat16");
    assert_same("format_pickle_legacy_bfloat16", "format_bfloat16");
}

#[test]
fn types_shapes_and_values_are_those_of_the_file() {
    let mut tensors = small_tensors();
    let half = [0x3c00u16, 0xc000].iter().flat_map(|bits| bits.to_le_bytes()).collect();
    tensors.push(Raw { key: "half".into(), dtype: "F16", shape: vec![2, 1], bytes: half });
    tensors.push(Raw { key: "yes".into(), dtype: "BOOL", shape: vec![2], bytes: vec![0, 1] });
    tensors.push(Raw { key: "none".into(), dtype: "F32", shape: vec![0, 3], bytes: vec![] });
    let folder = folder_with(&[(SAFETENSORS, &safetensors(&tensors))]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.path(), folder.path().join(SAFETENSORS));
    assert_eq!(checkpoint.tensors().count(), tensors.len());
    for tensor in &tensors {
        let info = checkpoint.info(&tensor.key).unwrap();
        assert_eq!(info.shape, tensor.shape);
        assert_eq!(info.bytes(), tensor.bytes.len());
        assert_eq!(checkpoint.read(&tensor.key).unwrap().as_bytes(), tensor.bytes);
    }
    assert_eq!(checkpoint.info("half").unwrap().dtype, DType::F16);
    assert_eq!(checkpoint.info("batchnorm.num_batches_tracked").unwrap().dtype, DType::I64);
    assert!(checkpoint.read("other").unwrap_err().to_string().contains("no tensor other"));
}

#[test]
fn formats_are_looked_for_in_the_order_of_transformers() {
    let file = safetensors(&[raw("a", &[1], 1)]);
    let index: &[u8] = br#"{"weight_map":{"a":"shard.safetensors"}}"#;
    let pickle = std::fs::read(fixture("format_pickle_zip_float32/pytorch_model.bin")).unwrap();
    let folder = folder_with(&[
        (SAFETENSORS, &file),
        (INDEX, index),
        ("shard.safetensors", &file),
        ("pytorch_model.bin", &pickle),
        ("pytorch_model.bin.index.json", br#"{"weight_map":{"latents":"pytorch_model.bin"}}"#),
    ]);
    let opened = || Checkpoint::open(folder.path()).map(|c| c.path().to_path_buf());
    for name in [SAFETENSORS, INDEX, "pytorch_model.bin"] {
        assert_eq!(opened().unwrap(), folder.path().join(name));
        std::fs::remove_file(folder.path().join(name)).unwrap();
    }
    std::fs::write(folder.path().join("pytorch_model.bin"), &pickle).unwrap();
    let single = folder.path().join("pytorch_model.bin");
    let key = Checkpoint::open(&single).unwrap().tensors().next().unwrap().0.to_owned();
    std::fs::rename(&single, folder.path().join("part.bin")).unwrap();
    let index = format!(r#"{{"weight_map":{{"{key}":"part.bin"}}}}"#);
    std::fs::write(folder.path().join("pytorch_model.bin.index.json"), index).unwrap();
    assert!(opened().unwrap().ends_with("pytorch_model.bin.index.json"));
}

#[test]
fn a_folder_without_weights_lists_what_was_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let message = refusal(folder.path());
    assert!(message.contains(SAFETENSORS) && message.contains("pytorch_model.bin"), "{message}");
    assert!(refusal(folder.path().join("no.safetensors")).contains("cannot read"));
}

#[test]
fn a_file_of_another_kind_is_named() {
    let pickle = std::fs::read(fixture("format_pickle_zip_float32/pytorch_model.bin")).unwrap();
    let mut tar = vec![b'a'; 600];
    tar[257..262].copy_from_slice(b"ustar");
    let file = safetensors(&small_tensors());
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
    let page = b"<!DOCTYPE html><html><body>Not found</body></html>";
    for (name, bytes, part) in [
        (SAFETENSORS, &pointer[..], "is a Git LFS pointer; `git lfs pull`"),
        (SAFETENSORS, page, "is an HTML page"),
        (SAFETENSORS, b"", "is empty"),
        (SAFETENSORS, &pickle, "is a zip archive; if torch.save wrote it, name it pytorch_model"),
        (SAFETENSORS, &tar, "is a tar archive"),
        ("pytorch_model.bin", pointer, "is a Git LFS pointer"),
        ("pytorch_model.bin", page, "is an HTML page"),
        ("pytorch_model.bin", b"", "is empty"),
        ("pytorch_model.bin", &file, "is a safetensors file; name it model.safetensors"),
        (INDEX, pointer, "it is a Git LFS pointer"),
    ] {
        assert_refused(&[(name, bytes)], &[name, part]);
    }
    let memory = Checkpoint::from_bytes(SAFETENSORS, page).unwrap_err().to_string();
    assert!(memory.contains("is an HTML page"), "{memory}");
}

#[test]
fn a_folder_with_other_weights_is_named() {
    for (name, part) in [
        ("adapter_model.safetensors", "it is an adapter of PEFT"),
        ("tf_model.h5", "it holds a model of TensorFlow"),
        ("flax_model.msgpack", "it holds a model of Flax"),
        ("epoch=3.ckpt", "it has epoch=3.ckpt; weights of this kind are read as pytorch_model.bin"),
    ] {
        assert_refused(&[(name, b"x")], &["no checkpoint in this folder", part]);
    }
}

#[test]
fn a_truncated_or_lengthened_file_is_refused() {
    let file = safetensors(&small_tensors());
    for length in [0, 4, 8, 20, file.len() / 2, file.len() - 1] {
        assert_refused(&[(SAFETENSORS, &file[..length])], &[SAFETENSORS]);
    }
    let longer = [file.as_slice(), &[0]].concat();
    assert_refused(&[(SAFETENSORS, &longer)], &[SAFETENSORS, "bytes long"]);
}

#[test]
fn a_header_beyond_the_file_is_refused_before_it_is_allocated() {
    for length in [100u64, 1 << 40, u64::MAX, u64::MAX - 7] {
        let mut file = length.to_le_bytes().to_vec();
        file.extend_from_slice(b"{}");
        assert_refused(&[(SAFETENSORS, &file)], &["claims a header", "at most 2"]);
    }
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    let one = r#""dtype":"F32","shape":[1],"data_offsets""#;
    for (header, data, part) in [
        (format!(r#"{{"a":{{{one}:[0,4]}},"a":{{{one}:[0,4]}}}}"#), 4, "tensor a occurs twice"),
        (format!(r#"{{"a":{{{one}:[0,4]}},"b":{{{one}:[2,6]}}}}"#), 6, "`b`"),
        (format!(r#"{{"a":{{{one}:[0,4]}},"b":{{{one}:[8,12]}}}}"#), 12, "`b`"),
        (format!(r#"{{"a":{{{one}:[4,0]}}}}"#), 4, "damaged header"),
        (format!(r#"{{"a":{{{one}:[0,8]}}}}"#), 8, "damaged header"),
        (
            r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#.into(),
            0,
            "damaged header",
        ),
        (r#"{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}"#.into(), 4, "F99"),
        (r#"{"a":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}"#.into(), 8, "unsupported type"),
        ("[]".into(), 0, "damaged header"),
        ("{\"a\"".into(), 0, "damaged header"),
    ] {
        assert_refused(&[(SAFETENSORS, &with_header(&header, data))], &[SAFETENSORS, part]);
    }
}

#[test]
fn an_index_must_agree_with_its_shards() {
    let file = safetensors(&[raw("a", &[1], 1)]);
    let shard = "one.safetensors";
    let files = |index: &'static str| [(INDEX, index.as_bytes()), (shard, file.as_slice())];
    for (index, parts) in [
        (r#"{"weight_map":{"a":"two.safetensors"}}"#, vec![INDEX, "missing shard two.safetensors"]),
        (r#"{"weight_map":{"b":"one.safetensors"}}"#, vec![shard, "no tensor b"]),
        (r#"{"weight_map":{"a":"../one.safetensors"}}"#, vec!["tensor a", "beside the index"]),
        (r#"{"weight_map":{"a":"/etc/passwd"}}"#, vec!["/etc/passwd", "beside the index"]),
        (r#"{"weight_map":{"a":"x\\one.safetensors"}}"#, vec!["beside the index"]),
        (r#"{"weight_map":{"a":".."}}"#, vec!["beside the index"]),
        (r#"{"weight_map":{"a":1}}"#, vec!["beside the index"]),
        (r#"{"weight_map":[]}"#, vec!["weight_map"]),
        (r#"{"weight_map":{}}"#, vec!["names no tensor"]),
        ("{", vec![INDEX, "not JSON at line 1"]),
    ] {
        assert_refused(&files(index), &parts);
    }
    let twice = br#"{"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}"#;
    let both = safetensors(&[raw("a", &[1], 1), raw("b", &[1], 2)]);
    let parts = ["two.safetensors", "tensor a", "another shard"];
    assert_refused(&[(INDEX, twice), (shard, &file), ("two.safetensors", &both)], &parts);
}

/// `torch.save(model)`, which `weights_only` refuses: the parameters are data, the class is not
/// looked for. fuzz/seeds.py wrote the file.
#[test]
fn a_pickled_module_is_its_state_dict() {
    let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/pickle/module.bin");
    let checkpoint = Checkpoint::open(seed).unwrap();
    let read = |key| checkpoint.read(key).unwrap().try_to_vec_as::<f32>().unwrap();
    let keys: Vec<_> = checkpoint.tensors().map(|(key, _)| key).collect();
    assert_eq!(keys, ["part.bias", "weight"]);
    assert_eq!(read("weight"), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(read("part.bias"), [2.0, 4.0]);
}

#[test]
fn a_pickle_that_names_a_foreign_class_is_refused_and_not_run() {
    for folder in ["hostile_pickle", "hostile_pickle_legacy"] {
        let message = refusal(fixture(folder));
        assert!(message.contains("pytorch_model.bin"), "{message}");
        assert!(message.contains("system") && message.contains("class"), "{message}");
        for place in [Path::new("."), &fixture(folder)] {
            assert!(!place.join("hostile_pickle_was_executed").exists());
        }
    }
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    for bytes in [&b""[..], b"hello", b"\x80\x02K\x01.", b"PK\x03\x04", &[0; 600]] {
        assert_refused(&[("pytorch_model.bin", bytes)], &["pytorch_model.bin"]);
    }
}

#[test]
fn truncated_pickles_are_refused_when_opened_or_read() {
    for kind in ["zip", "legacy"] {
        let path = fixture(&format!("format_pickle_{kind}_float32/pytorch_model.bin"));
        let bytes = std::fs::read(path).unwrap();
        for length in (0..bytes.len()).step_by(bytes.len() / 40) {
            let folder = folder_with(&[("pytorch_model.bin", &bytes[..length])]);
            let Ok(checkpoint) = Checkpoint::open(folder.path()) else {
                continue;
            };
            let broken = checkpoint.tensors().any(|(key, _)| checkpoint.read(key).is_err());
            assert!(broken, "{kind} at {length}");
        }
    }
}

/// Opens and reads everything; whatever happens must be an error, not a panic.
fn survives(name: &str, bytes: &[u8]) {
    let files: [(&str, &[u8]); 2] = [(name, bytes), ("s.safetensors", b"")];
    let folder = folder_with(&files);
    for checkpoint in [Checkpoint::open(folder.path()), Checkpoint::from_files(&files)] {
        let Ok(checkpoint) = checkpoint else { continue };
        for (key, info) in checkpoint.tensors() {
            if info.bytes() < 1 << 20 {
                let _ = checkpoint.read(key);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn arbitrary_files_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for name in [SAFETENSORS, INDEX, "pytorch_model.bin"] {
            survives(name, &bytes);
        }
    }

    #[test]
    fn arbitrary_headers_are_read_or_refused(header in "\\PC{0,80}", data in 0usize..16) {
        survives(SAFETENSORS, &with_header(&header, data));
        survives(INDEX, header.as_bytes());
    }

    #[test]
    fn damaged_safetensors_are_read_or_refused(at in any::<usize>(), byte in any::<u8>()) {
        let mut bytes = safetensors(&small_tensors());
        // Mostly the header, where there is something to damage.
        let at = at % 1500.min(bytes.len());
        bytes[at] = byte;
        survives(SAFETENSORS, &bytes);
    }

    #[test]
    fn damaged_pickles_are_read_or_refused(
        damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4)
    ) {
        for kind in ["zip", "legacy"] {
            let path = fixture(&format!("format_pickle_{kind}_float32/pytorch_model.bin"));
            let mut bytes = std::fs::read(path).unwrap();
            let length = bytes.len();
            for (at, byte) in &damage {
                bytes[at % length] = *byte;
            }
            survives("pytorch_model.bin", &bytes);
        }
    }
}
