//! Bad input: one line on stderr, exit code 2, nothing written.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::{TempDir, tempdir};

use crate::support::{
    Run, Stored, arguments, configure, copy, edit, fixture, floats, forward, ids, image_settings,
    listing, photo, program, run, run_with_input, write,
};

/// A refusal that mentions everything in `words`.
#[track_caller]
fn assert_refused(what: &str, run: &Run, words: &[&str]) {
    assert_eq!(run.code, 2, "{what}: {run:?}");
    assert_eq!(run.stdout, "", "{what}");
    assert_eq!(run.stderr.lines().count(), 1, "{what}: {}", run.stderr);
    assert!(run.stderr.starts_with("perceiver: error: "), "{what}: {}", run.stderr);
    for word in words {
        assert!(run.stderr.contains(word), "{what}: no {word:?} in {}", run.stderr);
    }
}

/// A folder to damage models in, and one that must stay empty.
struct Scene {
    folder: TempDir,
    results: TempDir,
}

impl Scene {
    fn new() -> Self {
        Self { folder: tempdir().unwrap(), results: tempdir().unwrap() }
    }

    fn model(&self, case: &str) -> PathBuf {
        copy(case, self.folder.path())
    }

    fn output(&self) -> PathBuf {
        self.results.path().join("out.safetensors")
    }

    /// Runs the model on its own inputs and expects a refusal.
    #[track_caller]
    fn refuses_model(&self, what: &str, model: &Path, words: &[&str]) {
        let inputs = self.folder.path().join("in.safetensors");
        write(&inputs, &[("inputs".to_owned(), ids(&[1, 2], &[4, 5]))].into());
        self.refuses(what, forward(model, &inputs, &self.output()), words);
        let output = self.results.path().join("converted");
        self.refuses(what, arguments!["convert", model, output], words);
    }

    #[track_caller]
    fn refuses(&self, what: &str, command: Vec<OsString>, words: &[&str]) {
        assert_refused(what, &run(command), words);
        assert!(listing(self.results.path()).is_empty(), "{what} leaves something");
    }
}

#[test]
fn damaged_configurations() {
    let scene = Scene::new();
    let model = scene.model("masked_lm");
    let path = model.join("config.json");
    let text = fs::read(&path).unwrap();
    let cases: [(&str, &[u8], &[&str]); 4] = [
        ("truncated", &text[..text.len() / 2], &["config.json", "line"]),
        ("no JSON", b"num_latents = 7", &["config.json", "line 1, column"]),
        ("no object", b"[1, 2]", &["config.json"]),
        ("no UTF-8", b"{\"model_type\": \"\xFF\"}", &["config.json", "UTF-8", "byte 16"]),
    ];
    for (what, bytes, words) in cases {
        fs::write(&path, bytes).unwrap();
        scene.refuses_model(what, &model, words);
        scene.refuses(what, arguments!["inspect", &model], words);
    }
    fs::remove_file(&path).unwrap();
    scene.refuses_model("absent", &model, &["config.json", "No such file"]);
}

#[test]
fn impossible_configurations() {
    let scene = Scene::new();
    for (field, value, words) in [
        ("architectures", json!(["BertModel"]), ["BertModel", "PerceiverForMaskedLM"]),
        ("hidden_act", json!("gelu_newest"), ["gelu_newest", "gelu_new"]),
        ("num_latents", json!(-1), ["num_latents", "-1"]),
        ("num_latents", json!(0), ["num_latents", "at least 1"]),
        ("d_latents", json!("wide"), ["d_latents", "wide"]),
        ("num_self_attention_heads", json!(5), ["num_self_attention_heads", "divisor"]),
        ("vocab_size", json!(u64::MAX), ["1099511627776", "weights"]),
        ("model_type", json!("bert"), ["model_type", "bert"]),
    ] {
        let model = scene.model("masked_lm");
        configure(&model, field, value);
        scene.refuses_model(field, &model, &["config.json", words[0], words[1]]);
        let mut init = arguments!["init", "--head", "masked-lm", "--config"];
        init.extend(arguments![model.join("config.json"), scene.results.path().join("fresh")]);
        if field != "architectures" {
            scene.refuses(field, init, &["config.json", words[0], words[1]]);
        }
    }
}

#[test]
fn weights_of_another_model() {
    let scene = Scene::new();
    let spoilt = |change: &dyn Fn(&mut BTreeMap<String, Stored>)| {
        let model = scene.model("masked_lm");
        edit(&model.join("model.safetensors"), change);
        model
    };
    let model = spoilt(&|tensors| {
        tensors.remove("embedding_decoder.bias");
    });
    scene.refuses_model("missing", &model, &["1 missing", "embedding_decoder.bias"]);
    let model = spoilt(&|tensors| {
        tensors.insert("lm_head.bias".to_owned(), floats(&[3], &[0.0; 3]));
    });
    scene.refuses_model("unused", &model, &["1 unused", "lm_head.bias"]);
    let model = spoilt(&|tensors| {
        tensors.insert("embedding_decoder.bias".to_owned(), floats(&[3], &[0.0; 3]));
    });
    let words = ["1 wrong", "embedding_decoder.bias", "[3]", "[53]", "model.safetensors"];
    scene.refuses_model("wrong shape", &model, &words);
    let model = spoilt(&|tensors| {
        tensors.insert("embedding_decoder.bias".to_owned(), ids(&[53], &[0; 53]));
    });
    scene.refuses_model("wrong type", &model, &["embedding_decoder.bias", "expected floats"]);
    let model = scene.model("masked_lm");
    configure(&model, "d_latents", json!(48));
    scene.refuses_model("wider latents", &model, &["embeddings.latents", "[7, 24]", "[7, 48]"]);
}

#[test]
fn damaged_safetensors() {
    let scene = Scene::new();
    let model = scene.model("masked_lm");
    let path = model.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let with_length = |length: u64| [&length.to_le_bytes(), &bytes[8..]].concat();
    let tensor = "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]";
    let twice = format!("{{\"a\":{{{tensor}}},\"a\":{{{tensor}}}}}");
    let twice = [&(twice.len() as u64).to_le_bytes()[..], twice.as_bytes(), &[0; 4]].concat();
    for (what, bytes) in [
        ("empty", Vec::new()),
        ("five bytes", bytes[..5].to_vec()),
        ("truncated header", bytes[..200].to_vec()),
        ("truncated values", bytes[..bytes.len() - 1].to_vec()),
        ("header beyond the file", with_length(bytes.len() as u64)),
        ("header without end", with_length(u64::MAX)),
        ("no JSON", with_length(4)),
        ("a tensor twice", twice),
    ] {
        fs::write(&path, bytes).unwrap();
        scene.refuses_model(what, &model, &["model.safetensors"]);
        scene.refuses(what, arguments!["inspect", &model], &["model.safetensors"]);
        let inputs = forward(&fixture("masked_lm"), &path, &scene.output());
        scene.refuses(what, inputs, &["model.safetensors"]);
    }
    fs::remove_file(&path).unwrap();
    scene.refuses_model("absent", &model, &["no checkpoint", "model.safetensors"]);

    let model = scene.model("format_sharded");
    fs::remove_file(model.join("model-00004-of-00010.safetensors")).unwrap();
    scene.refuses_model("missing shard", &model, &["model-00004-of-00010.safetensors"]);
}

#[test]
fn pickles_run_no_code() {
    for case in ["hostile_pickle", "hostile_pickle_legacy"] {
        let scene = Scene::new();
        let folder = scene.folder.path();
        let model = scene.model(case);
        let output = scene.results.path().join("out");
        let mut command = program();
        command.current_dir(folder).args(arguments!["convert", &model, &output]);
        assert_refused(case, &command.output().unwrap().into(), &["pytorch_model.bin"]);
        assert_eq!(listing(folder), [case]);
        assert!(listing(scene.results.path()).is_empty());
    }
    let scene = Scene::new();
    let model = scene.model("format_pickle_zip_float32");
    let path = model.join("pytorch_model.bin");
    let bytes = fs::read(&path).unwrap();
    for length in [0, 10, bytes.len() / 2, bytes.len() - 10] {
        fs::write(&path, &bytes[..length]).unwrap();
        scene.refuses_model("truncated", &model, &["pytorch_model.bin"]);
    }
}

#[test]
fn models_that_are_nowhere() {
    let scene = Scene::new();
    let folder = scene.folder.path();
    scene.refuses_model("no folder", &folder.join("nowhere"), &["nowhere", "does not exist"]);
    let command = |model: &str| arguments!["fill-mask", "--model", model, "[MASK]"];
    let words = ["someone/something", "127.0.0.1:9", "cache"];
    scene.refuses("unreachable hub", command("someone/something"), &words);
    let mut offline = command("someone/something");
    offline.push("--offline".into());
    scene.refuses("offline", offline, &["someone/something", "offline"]);
    let mut revision = command("someone/something");
    revision.extend(arguments!["--revision", "../../etc"]);
    scene.refuses("revision", revision, &["../../etc"]);
}

#[test]
fn texts_that_cannot_be_read() {
    let scene = Scene::new();
    let model = fixture("masked_lm");
    let fill = |text: &str| arguments!["fill-mask", "--model", &model, text];
    scene.refuses("no mask", fill("!!"), &["[MASK]"]);
    scene.refuses("empty", fill(""), &["text is empty"]);
    scene.refuses("too many masks", fill(&"[MASK]".repeat(12)), &["12 bytes", "11"]);
    let mut wide = fill("[MASK]");
    wide.extend(arguments!["--span", "12"]);
    scene.refuses("too wide a mask", wide, &["12 bytes", "11"]);
    for (words, expected) in
        [("!,,!", "a word to choose from is empty"), ("!,!!!!!!!!!!!!", "12 bytes")]
    {
        let mut choose = fill("[MASK]");
        choose.extend(arguments!["--candidates", words]);
        scene.refuses("a word", choose, &[expected]);
    }
    let empty = scene.folder.path().join("empty.txt");
    fs::write(&empty, "").unwrap();
    let command = arguments!["fill-mask", "--model", &model, "--file", &empty];
    scene.refuses("no line", command, &["empty.txt", "one text per line"]);
    scene.refuses("unknown ids", fill("hello [MASK]"), &["token id 110", "53"]);
    assert_refused("empty input", &run_with_input(fill("-"), b"\n"), &["text is empty"]);
    let broken = run_with_input(fill("-"), b"!\xC3[MASK]");
    assert_refused("no UTF-8", &broken, &["standard input", "UTF-8", "byte 1"]);
    let broken = run_with_input(["tokenize", "-"], b"\xFF");
    assert_refused("no UTF-8", &broken, &["standard input", "UTF-8", "byte 0"]);
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStringExt;
        let argument = OsString::from_vec(b"!\xFF[MASK]".to_vec());
        let command = arguments!["fill-mask", "--model", &model, argument];
        scene.refuses("no UTF-8", command, &["UTF-8"]);
    }
    let classifier = fixture("sequence_single_label");
    let classify = |text: &str| arguments!["classify", "--model", &classifier, "--text", text];
    scene.refuses("empty", classify(""), &["text is empty"]);
    scene.refuses("too long", classify("!!!!!!!!!!!!"), &["14 tokens", "13"]);
    let command = arguments!["fill-mask", "--model", &classifier, "![MASK]"];
    let words = ["PerceiverForSequenceClassification", "PerceiverForMaskedLM"];
    scene.refuses("another head", command, &words);
    let command = arguments!["classify", "--model", &model, "--text", "!"];
    scene.refuses("another head", command, &["PerceiverForMaskedLM", "expected"]);
}

#[test]
fn ids_and_settings_of_the_tokenizer() {
    let scene = Scene::new();
    for (ids, words) in
        [("4,262", ["262", "position 1"]), ("4,x", ["\"x\"", "id"]), ("-3", ["\"-3\"", "id"])]
    {
        scene.refuses(ids, arguments!["tokenize", "--decode", ids], &words);
    }
    let model = scene.model("masked_lm");
    fs::write(model.join("tokenizer_config.json"), "{").unwrap();
    let command = arguments!["tokenize", "a", "--model", &model];
    scene.refuses("settings", command, &["tokenizer_config.json"]);
    let command = arguments!["fill-mask", "--model", &model, "[MASK]"];
    scene.refuses("settings", command, &["tokenizer_config.json"]);
}

#[test]
fn images_that_cannot_be_read() {
    let scene = Scene::new();
    let folder = scene.folder.path();
    let good = folder.join("good.png");
    photo(&good, 40, 30);
    let bytes = fs::read(&good).unwrap();
    let model = scene.model("image_conv");
    image_settings(&model, 17);
    let mut no_pixels = bytes.clone();
    no_pixels[16..24].fill(0);
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 0xFF;
    for (name, bytes) in [
        ("zero_bytes.png", Vec::new()),
        ("text.jpg", b"this is not an image".to_vec()),
        ("truncated.png", bytes[..bytes.len() / 2].to_vec()),
        ("no_pixels.png", no_pixels),
        ("flipped.png", flipped),
    ] {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        scene.refuses(name, arguments!["classify", "--model", &model, &path], &[name]);
        let command = arguments!["preprocess", &good, &path, "--output", scene.output()];
        scene.refuses(name, command, &[name]);
    }
    let command = arguments!["classify", "--model", &model, folder.join("nowhere.png")];
    scene.refuses("absent", command, &["nowhere.png"]);
    let command = arguments!["preprocess", folder.join("nowhere.png"), "--output", scene.output()];
    scene.refuses("absent", command, &["nowhere.png"]);
    let none = folder.join("none");
    fs::create_dir(&none).unwrap();
    let command = arguments!["classify", "--model", &model, &good, &none];
    scene.refuses("no photo", command, &["none", "holds no photos"]);
    let command = arguments!["classify", "--model", &model, &good, none.join("*.png")];
    scene.refuses("no match", command, &["*.png", "matches no file"]);
}

#[test]
fn features_that_cannot_be_written() {
    let scene = Scene::new();
    let folder = scene.folder.path();
    let (model, there) = (fixture("masked_lm"), folder.join("there.npy"));
    fs::write(&there, "old").unwrap();
    let features = |model: &Path, output: &Path| {
        arguments!["features", "--model", model, "--text", "!", "-o", output]
    };
    scene.refuses("another form", features(&model, &folder.join("x.txt")), &["x.txt", "*.npy"]);
    scene.refuses("there", features(&model, &there), &["there.npy", "--force"]);
    assert_eq!(fs::read_to_string(&there).unwrap(), "old");
    fs::write(folder.join("names.json"), "old").unwrap();
    let command = features(&model, &folder.join("names.npy"));
    scene.refuses("its names are there", command, &["names.json", "--force"]);
    for (case, expected) in [
        ("model_masked", "single images"),
        ("optical_flow", "takes pairs of frames, not texts"),
        ("multimodal", "takes videos, not texts"),
    ] {
        scene.refuses("another head", features(&fixture(case), &scene.output()), &[case, expected]);
    }
    let command = arguments!["features", "--model", &model, "--text", "", "-o", scene.output()];
    scene.refuses("empty", command, &["text is empty"]);
}

#[test]
fn images_that_do_not_fit() {
    let scene = Scene::new();
    let folder = scene.folder.path();
    let (good, tiny) = (folder.join("good.png"), folder.join("tiny.png"));
    photo(&good, 40, 30);
    photo(&tiny, 1, 1);
    let command = arguments!["preprocess", &tiny, "--output", scene.output()];
    scene.refuses("nothing to crop", command, &["tiny.png", "1x1", "empty"]);

    let model = scene.model("image_conv");
    let classify = |model: &Path| arguments!["classify", "--model", model, &good];
    image_settings(&model, 4);
    scene.refuses(
        "smaller than the convolution",
        classify(&model),
        &["good.png", "4x4", "at least"],
    );
    let learned = scene.model("image_learned");
    image_settings(&learned, 9);
    scene.refuses("another size", classify(&learned), &["good.png", "9x9", "6x6"]);
    let command = arguments!["classify", "--model", &learned, "--text", "!"];
    scene.refuses("a text", command, &["PerceiverForImageClassificationLearned", "an image"]);
    let command = arguments!["classify", "--model", fixture("sequence_single_label"), &good];
    scene.refuses("an image", command, &["PerceiverForSequenceClassification", "a text"]);
}

#[test]
fn tensors_that_do_not_fit() {
    let scene = Scene::new();
    let cases: [(&str, &str, Stored, &[&str]); 12] = [
        ("masked_lm", "inputs", ids(&[1, 2], &[4, 53]), &["`inputs`", "53"]),
        ("masked_lm", "inputs", ids(&[1, 2], &[4, -1]), &["`inputs`", "-1"]),
        ("masked_lm", "inputs", floats(&[1, 2], &[4.0, 5.0]), &["`inputs`", "integers"]),
        ("masked_lm", "inputs", ids(&[2], &[4, 5]), &["`inputs`", "[2]"]),
        ("masked_lm", "inputs", ids(&[1, 14], &[7; 14]), &["`inputs`", "14", "13"]),
        ("masked_lm", "inputs", ids(&[1, 0], &[]), &["`inputs`", "[1, 0]"]),
        ("masked_lm", "mask", ids(&[1, 2], &[1, 1]), &["`mask`", "not an input"]),
        ("masked_lm", "attention_mask", ids(&[2, 12], &[1; 24]), &["`attention_mask`", "[2, 12]"]),
        ("masked_lm", "attention_mask", ids(&[2, 13], &[0; 26]), &["`attention_mask`", "hides"]),
        ("masked_lm", "labels", ids(&[2, 13], &[53; 26]), &["`labels`", "53"]),
        ("image_conv", "pixel_values", floats(&[1, 3, 4, 4], &[0.5; 48]), &["4x4", "at least"]),
        (
            "multimodal",
            "subsampled_output_points.image",
            ids(&[2], &[0, 1 << 40]),
            &["`subsampled_output_points.image`", "1099511627776"],
        ),
    ];
    for (case, name, tensor, words) in cases {
        let model = scene.model(case);
        let inputs = model.join("inputs.safetensors");
        edit(&inputs, |tensors| {
            if ["inputs", "pixel_values"].contains(&name) {
                tensors.clear();
            }
            tensors.insert(name.to_owned(), tensor);
        });
        let words = [words, &["inputs.safetensors"]].concat();
        scene.refuses(name, forward(&model, &inputs, &scene.output()), &words);
    }
    let model = fixture("masked_lm");
    let empty = scene.folder.path().join("empty.safetensors");
    write(&empty, &BTreeMap::new());
    scene.refuses("nothing", forward(&model, &empty, &scene.output()), &["inputs"]);
    let folder = scene.folder.path();
    let command = forward(&model, folder, &scene.output());
    scene.refuses("a folder", command, &["expected a file named *.safetensors"]);
    let command = forward(&model, &folder.join("none.safetensors"), &scene.output());
    scene.refuses("absent", command, &["none.safetensors", "No such file"]);
}

#[test]
fn places_that_cannot_be_written() {
    let scene = Scene::new();
    let case = fixture("masked_lm");
    let inputs = case.join("inputs.safetensors");
    let folder = scene.folder.path();
    let command = forward(&case, &inputs, &folder.join("nowhere/out.safetensors"));
    scene.refuses("no folder", command, &["out.safetensors", "nowhere"]);
    scene.refuses("a folder", forward(&case, &inputs, folder), &["not a regular file"]);
    #[cfg(target_os = "linux")]
    {
        let command = forward(&case, &inputs, Path::new("/dev/full"));
        scene.refuses("a device", command, &["/dev/full", "not a regular file"]);
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let locked = folder.join("locked");
        fs::create_dir(&locked).unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
        // Root may write everywhere.
        if fs::write(locked.join("probe"), "").is_err() {
            let command = forward(&case, &inputs, &locked.join("out.safetensors"));
            scene.refuses("a locked folder", command, &["out.safetensors", "cannot write"]);
            let command = arguments!["convert", &case, locked.join("model")];
            scene.refuses("a locked folder", command, &["locked", "cannot"]);
        }
    }
    let there = folder.join("there");
    fs::create_dir(&there).unwrap();
    fs::write(there.join("diary.txt"), "dear diary").unwrap();
    scene.refuses("not empty", arguments!["convert", &case, &there], &["there", "--force"]);
    let config = case.join("config.json");
    let command = arguments!["init", "--head", "masked-lm", "--config", &config, &there];
    scene.refuses("not empty", command, &["there", "--force"]);
    let file = there.join("diary.txt");
    scene.refuses("a file", arguments!["convert", &case, &file], &["diary.txt"]);
    assert_eq!(listing(&there), ["diary.txt"]);
    assert_eq!(run(arguments!["convert", &case, &there, "--force"]).code, 0);
    assert_eq!(listing(&there), ["config.json", "diary.txt", "model.safetensors"]);
}

/// A failure that mentions everything in `words`.
#[cfg(unix)]
#[track_caller]
fn assert_failed(run: &Run, words: &[&str]) {
    assert_eq!((run.code, run.stderr.lines().count()), (1, 1), "{run:?}");
    for word in words {
        assert!(run.stderr.contains(word), "no {word:?} in {}", run.stderr);
    }
}

/// A limit on the size of files stands in for a full disk.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_old_files() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let case = fixture("masked_lm");
    let limited = |command: Vec<OsString>| -> Run {
        let script = "ulimit -f 4; exec \"$0\" \"$@\"";
        let mut shell = std::process::Command::new("sh");
        shell.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_perceiver")).args(command);
        shell.output().unwrap().into()
    };
    let output = at("out.safetensors");
    fs::write(&output, "old").unwrap();
    let mut command = forward(&case, &case.join("inputs.safetensors"), &output);
    command.push("--force".into());
    assert_failed(&limited(command), &["out.safetensors", "cannot write"]);
    assert_eq!(fs::read_to_string(&output).unwrap(), "old");
    assert_eq!(listing(folder.path()), ["out.safetensors"]);

    let model = copy("masked_lm", folder.path());
    let before: Vec<_> =
        listing(&model).iter().map(|name| fs::read(model.join(name)).unwrap()).collect();
    let command = arguments!["convert", &model, &model, "--force", "--dtype", "f16"];
    assert_failed(&limited(command), &["cannot write"]);
    let after: Vec<_> =
        listing(&model).iter().map(|name| fs::read(model.join(name)).unwrap()).collect();
    assert!(before == after);
}

#[test]
fn command_lines_that_make_no_sense() {
    let scene = Scene::new();
    let model = fixture("masked_lm");
    let fill = |options: &[&str]| {
        let mut command = arguments!["fill-mask", "--model", &model, "![MASK]"];
        command.extend(options.iter().map(Into::into));
        command
    };
    scene.refuses("no such option", fill(&["--frobnicate"]), &["--frobnicate"]);
    scene.refuses("no candidates", fill(&["-k", "0"]), &["--top-k", "1..=1000"]);
    scene.refuses("no such device", fill(&["--device", "tpu"]), &["tpu", "this build has"]);
    scene.refuses("no index", fill(&["--device", "wgpu:x"]), &["wgpu:x", "expected a number"]);
    scene.refuses("no such command", arguments!["fly"], &["fly"]);
    let forward = arguments!["forward", "--inputs", "a", "--output", "b"];
    scene.refuses("no model", forward, &["--model"]);
    scene.refuses("two masks", fill(&["--span", "2", "--candidates", "!"]), &["--candidates"]);
    scene.refuses("two texts", fill(&["--file", "texts.txt"]), &["--file"]);
    let both = arguments!["classify", "--model", &model, "--text", "!", "--csv", "--json"];
    scene.refuses("two forms", both, &["--csv", "--json"]);
    let convert = arguments!["convert", &model, "out", "--max-shard-size", "2 apples"];
    scene.refuses("no size", convert, &["--max-shard-size", "2GB"]);
    let init = arguments!["init", "--head", "bert", "--config", "c.json", "out"];
    scene.refuses("no head", init, &["bert", "PerceiverForMaskedLM"]);
    let decode = arguments!["tokenize", "text", "--decode", "5"];
    scene.refuses("both ways", decode, &["--decode"]);
    scene.refuses("neither", arguments!["tokenize"], &["TEXT"]);
    let line = arguments!["inspect", "no\nperceiver: error: such\u{1b}[31m"];
    scene.refuses("a forged line", line, &["no\\nperceiver", "\\u{1b}"]);
}
