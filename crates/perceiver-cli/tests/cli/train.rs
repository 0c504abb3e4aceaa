//! `perceiver train`: the files of a run, however it ends.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::{TempDir, tempdir};

use crate::support::{Run, edit, program, run};

const RECIPE: &str = r#"
name = "vowels"
architecture = "PerceiverForSequenceClassification"

[model]
num_latents = 2
d_latents = 4
d_model = 6
num_self_attends_per_block = 1
num_self_attention_heads = 1
num_cross_attention_heads = 1
max_position_embeddings = 8
attention_probs_dropout_prob = 0.0

[data]
kind = "text-table"
train = "texts.csv"
validation = "texts.csv"
label = "kind"
length = 8

[optimiser]
name = "lamb"
learning_rate = 0.01

[run]
steps = STEPS
batch_size = 2
validate_every = 3
log_every = 2

[card]
summary = "Tells vowels from other letters."
limits = "It has seen six words."
licence = "mit"
measured_on = "the same six words"
baseline = "50 (a coin)"
data = [{ name = "six words", licence = "mit", origin = "this test", parts = "six" }]
"#;

pub(crate) fn folder(steps: usize) -> TempDir {
    let folder = tempdir().unwrap();
    let texts = "text,kind\naaa,vowels\nbcd,others\neie,vowels\nkkl,others\nou,vowels\nzx,others\n";
    fs::write(folder.path().join("texts.csv"), texts).unwrap();
    let recipe = RECIPE.replace("STEPS", &steps.to_string());
    fs::write(folder.path().join("recipe.toml"), recipe).unwrap();
    folder
}

pub(crate) fn arguments(folder: &Path, more: &[&str]) -> Vec<String> {
    let path = |name: &str| folder.join(name).display().to_string();
    let data = folder.display().to_string();
    let fixed = ["train", &path("recipe.toml"), "--data", &data, "--out", &path("out")];
    fixed.iter().chain(more).map(|argument| (*argument).to_owned()).collect()
}

/// Starts a run of hours, and waits for its first checkpoint.
fn endless(folder: &Path) -> Child {
    let mut command = program();
    command.args(arguments(folder, &["--quiet"])).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let since = Instant::now();
    while !folder.join("out/checkpoints/step-3").exists() {
        assert!(since.elapsed() < Duration::from_secs(60), "no checkpoint in a minute");
        sleep(Duration::from_millis(5));
    }
    child
}

/// Steps of the checkpoints.
fn checkpoints(folder: &Path) -> Vec<usize> {
    let names = fs::read_dir(folder.join("out/checkpoints")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_prefix("step-")?.parse().ok()).collect()
}

#[test]
fn a_run_leaves_a_model_its_card_its_curve_and_its_log() {
    let folder = folder(4);
    let ran = run(arguments(folder.path(), &["--json"]));
    let answer = ran.json();
    assert_eq!((&answer["steps"], &answer["complete"]), (&4.into(), &true.into()));
    let out = folder.path().join("out");
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    assert!(card.contains("Tells vowels from other letters.") && card.contains("50 (a coin)"));
    assert!(fs::read_to_string(out.join("learning-curve.svg")).unwrap().starts_with("<svg"));
    let log = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    // Two lines of training, then validations after three and four steps between them.
    assert_eq!(log.lines().count(), 5, "{log}");
    let out = out.display().to_string();
    let classify = ["classify", "--model", &out, "--text", "aa", "--json"];
    assert_eq!(run(classify).json()["labels"].as_array().unwrap().len(), 2);
}

#[test]
fn lines_report_the_progress() {
    let folder = folder(3);
    let ran = run(arguments(folder.path(), &[]));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("step 2/3  train  loss 0."), "{}", ran.stderr);
    assert!(ran.stderr.contains("step 3/3  validation  loss 0."), "{}", ran.stderr);
    assert!(ran.stdout.contains(": 3 steps, best: loss 0."), "{}", ran.stdout);
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_writes_a_checkpoint_and_says_how_to_resume() {
    let folder = folder(100_000_000);
    let child = endless(folder.path());
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    let reached = *checkpoints(folder.path()).iter().max().unwrap();
    assert!(said.contains(&format!("interrupted at step {reached}; --resume continues")), "{said}");
}

#[test]
fn a_killed_run_keeps_its_model_and_resumes() {
    let folder = folder(100_000_000);
    let mut child = endless(folder.path());
    child.kill().unwrap();
    child.wait().unwrap();
    let reached = *checkpoints(folder.path()).iter().max().unwrap();
    let recipe = RECIPE.replace("STEPS", &(reached + 2).to_string());
    fs::write(folder.path().join("recipe.toml"), recipe).unwrap();
    let answer = run(arguments(folder.path(), &["--json", "--resume"])).json();
    assert_eq!(answer["steps"], reached + 2);
    let log = fs::read_to_string(folder.path().join("out/metrics.jsonl")).unwrap();
    let whole = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    assert!(log.lines().all(whole), "{log}");
}

/// Runs as on a full disk: no file can grow beyond four blocks.
#[cfg(unix)]
fn run_without_space(arguments: &[String]) -> Run {
    let limited = r#"ulimit -f 4; exec "$@""#;
    let perceiver = program();
    let mut shell = Command::new("sh");
    shell.args(["-c", limited, "sh"]).arg(perceiver.get_program()).args(arguments);
    shell.output().unwrap().into()
}

#[cfg(unix)]
#[test]
fn a_full_disk_stops_a_run_that_resumes_when_there_is_space() {
    let [stopped, straight] = [3, 6].map(folder);
    for folder in [&stopped, &straight] {
        assert_eq!(run(arguments(folder.path(), &["--quiet"])).code, 0);
    }
    let recipe = RECIPE.replace("STEPS", "6");
    fs::write(stopped.path().join("recipe.toml"), recipe).unwrap();
    let resume = arguments(stopped.path(), &["--quiet", "--resume"]);

    let full = run_without_space(&resume);
    assert_eq!(full.code, 1, "{full:?}");
    // A driver that the build looks for may have complained before.
    let said = full.stderr.lines().last().unwrap();
    assert!(said.contains("out/checkpoints/") && said.contains("File too large"), "{said}");
    assert_eq!(checkpoints(stopped.path()), [3]);

    let ran = run(resume);
    assert_eq!(ran.code, 0, "{ran:?}");
    let model = |folder: &TempDir| fs::read(folder.path().join("out/model.safetensors")).unwrap();
    assert!(model(&stopped) == model(&straight));
}

#[test]
fn a_folder_with_checkpoints_alone_is_refused_without_resume() {
    let folder = folder(3);
    assert_eq!(run(arguments(folder.path(), &["--quiet"])).code, 0);
    fs::remove_file(folder.path().join("out/metrics.jsonl")).unwrap();
    let again = run(arguments(folder.path(), &["--quiet"]));
    assert_eq!(again.code, 2, "{again:?}");
    assert!(again.stderr.contains("out: holds a run already"), "{}", again.stderr);
}

#[test]
fn wrong_data_is_refused_in_one_line_and_leaves_no_folder() {
    let folder = folder(3);
    fs::write(folder.path().join("texts.csv"), "text\nabc\n").unwrap();
    let ran = run(arguments(folder.path(), &[]));
    assert_eq!((ran.code, ran.stderr.lines().count()), (2, 1), "{ran:?}");
    assert!(ran.stderr.contains("texts.csv: "), "{}", ran.stderr);
    assert!(!folder.path().join("out").exists());
}

/// Changes the recipe, or the table, of a folder.
fn change(folder: &Path, name: &str, from: &str, to: &str) {
    let path = folder.join(name);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "no {from:?} in {text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn a_classifier_is_fine_tuned_for_other_labels_and_another_encoder_is_refused() {
    let [base, more] = [folder(3), folder(3)];
    assert_eq!(run(arguments(base.path(), &["--quiet"])).code, 0);
    let model = base.path().join("out").display().to_string();
    change(more.path(), "texts.csv", "zx,others", "zx,others\n12,digits");
    let tuned = run(arguments(more.path(), &["--init", &model]));
    assert_eq!(tuned.code, 0, "{tuned:?}");
    let weight = "fresh, since its shape differs: perceiver.decoder.decoder.final_layer.weight (is \
                  [2, 4], expected [3, 4])";
    let bias = "final_layer.bias (is [2], expected [3])";
    for words in [weight, bias] {
        assert!(tuned.stderr.contains(words), "no {words:?} in {}", tuned.stderr);
    }
    let out = more.path().join("out").display().to_string();
    let answer = run(["classify", "--model", &out, "--text", "aa", "--json"]).json();
    assert_eq!(answer["labels"].as_array().unwrap().len(), 3);

    let other = folder(3);
    change(other.path(), "recipe.toml", "num_latents = 2", "num_latents = 3");
    let refused = run(arguments(other.path(), &["--init", &model]));
    assert_eq!((refused.code, refused.stderr.lines().count()), (2, 1), "{refused:?}");
    let words = "perceiver.embeddings.latents (is [2, 4], expected [3, 4])";
    assert!(refused.stderr.contains(words), "{}", refused.stderr);
    assert!(refused.stderr.contains("only the decoder may have other shapes"), "{refused:?}");
    assert!(!other.path().join("out").exists());
}

#[test]
fn what_loading_says_of_a_model_is_also_said_of_one_to_start_from() {
    let base = folder(1);
    assert_eq!(run(arguments(base.path(), &["--quiet"])).code, 0);
    let model = base.path().join("out");
    let weights = model.join("model.safetensors");
    let started = || {
        let model = model.display().to_string();
        run(arguments(folder(1).path(), &["--quiet", "--init", &model]))
    };
    edit(&weights, |tensors| {
        let old = std::mem::take(tensors);
        *tensors = old.into_iter().map(|(key, t)| (format!("_orig_mod.{key}"), t)).collect();
    });
    let wrapped = started();
    assert_eq!(wrapped.code, 0, "{wrapped:?}");
    assert!(wrapped.stderr.contains("begin with `_orig_mod.`, which is left off"), "{wrapped:?}");
    edit(&weights, |tensors| {
        let latents = tensors.get_mut("_orig_mod.perceiver.embeddings.latents").unwrap();
        latents.bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    let unclear = started();
    assert_eq!(unclear.code, 1, "{unclear:?}");
    assert!(unclear.stderr.contains("latents has 1 NaN or infinite values"), "{unclear:?}");
}

#[test]
fn a_bundled_model_and_one_of_the_hub_can_be_started_from() {
    let folder = folder(1);
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (from, to) in [
        ("num_latents = 2", "num_latents = 64"),
        ("d_latents = 4", "d_latents = 128"),
        ("d_model = 6", "d_model = 128"),
        ("num_self_attends_per_block = 1", "num_self_attends_per_block = 3"),
        ("num_self_attention_heads = 1", "num_self_attention_heads = 4"),
        ("num_cross_attention_heads = 1", "num_cross_attention_heads = 8"),
        ("max_position_embeddings = 8", "max_position_embeddings = 192"),
    ] {
        change(folder.path(), "recipe.toml", from, to);
    }
    let words = "final_layer.weight (is [12, 128], expected [2, 128])";
    let bundled = run(arguments(folder.path(), &["--init", "languages"]));
    assert_eq!(bundled.code, 0, "{bundled:?}");
    assert!(bundled.stderr.contains(words), "{}", bundled.stderr);

    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/languages");
    let cache = folder.path().join("cache/models--me--languages");
    fs::create_dir_all(cache.join("snapshots/0a1b")).unwrap();
    fs::create_dir_all(cache.join("refs")).unwrap();
    fs::write(cache.join("refs/main"), "0a1b").unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(models.join(name), cache.join("snapshots/0a1b").join(name)).unwrap();
    }
    let mut hub = program();
    hub.env("HF_HUB_CACHE", path("cache"));
    let (recipe, data, out) = (path("recipe.toml"), path("."), path("hub"));
    hub.args(["train", &recipe, "--data", &data, "--out", &out, "--offline"]);
    let hub: Run = hub.args(["--init", "me/languages"]).output().unwrap().into();
    assert_eq!(hub.code, 0, "{hub:?}");
    assert!(hub.stderr.contains(words), "{}", hub.stderr);

    let unknown =
        run(arguments(folder.path(), &["--init", "nothing", "--offline", "--out", &path("no")]));
    assert_eq!(unknown.code, 2, "{unknown:?}");
}

#[test]
fn a_run_is_not_resumed_by_another_recipe_nor_where_there_is_none() {
    let folder = folder(3);
    for make_folder in [false, true] {
        if make_folder {
            fs::create_dir(folder.path().join("out")).unwrap();
        }
        let nothing = run(arguments(folder.path(), &["--resume"]));
        assert_eq!((nothing.code, nothing.stderr.lines().count()), (2, 1), "{nothing:?}");
        assert!(nothing.stderr.contains("out: nothing to resume"), "{}", nothing.stderr);
    }
    assert_eq!(run(arguments(folder.path(), &["--quiet"])).code, 0);
    for (from, to, words) in [
        ("d_latents = 4", "d_latents = 8", "`model.d_latents` is 8, the saved run has 4;"),
        (
            "= \"lamb\"",
            "= \"adam-w\"",
            "`optimiser.name` is \"adam-w\", the saved run has \"lamb\";",
        ),
        ("batch_size = 2", "batch_size = 3", "`run.batch_size` is 3, the saved run has 2;"),
    ] {
        change(folder.path(), "recipe.toml", from, to);
        let refused = run(arguments(folder.path(), &["--resume"]));
        assert_eq!((refused.code, refused.stderr.lines().count()), (2, 1), "{refused:?}");
        assert!(refused.stderr.contains(words), "no {words:?} in {}", refused.stderr);
        change(folder.path(), "recipe.toml", to, from);
    }
    change(folder.path(), "texts.csv", "ou,vowels", "ou,sounds");
    let renamed = run(arguments(folder.path(), &["--resume"])).stderr;
    assert!(renamed.contains("`model.id2label.1` is \"sounds\", the saved run has"), "{renamed}");
    change(folder.path(), "texts.csv", "ou,sounds", "ou,vowels");
    for (from, to) in [
        ("steps = 3", "steps = 6"),
        ("log_every = 2", "log_every = 1"),
        ("validate_every = 3", "validate_every = 2"),
        ("[card]", "workers = 2\ngradient_checkpointing = true\nhalf_precision = true\n[card]"),
        ("name = \"vowels\"", "name = \"letters\""),
    ] {
        change(folder.path(), "recipe.toml", from, to);
    }
    let answer = run(arguments(folder.path(), &["--json", "--resume"])).json();
    assert_eq!((&answer["steps"], &answer["complete"]), (&6.into(), &true.into()));
}

#[test]
fn a_folder_has_one_process_at_a_time_even_if_the_first_is_killed() {
    let folder = folder(100_000_000);
    let mut child = endless(folder.path());
    let second = run(arguments(folder.path(), &["--resume"]));
    assert_eq!((second.code, second.stderr.lines().count()), (2, 1), "{second:?}");
    assert!(second.stderr.contains("out: in use: another process trains there"), "{second:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    let reached = *checkpoints(folder.path()).iter().max().unwrap();
    let recipe = RECIPE.replace("STEPS", &reached.to_string());
    fs::write(folder.path().join("recipe.toml"), recipe).unwrap();
    assert_eq!(run(arguments(folder.path(), &["--quiet", "--resume"])).code, 0);
}

#[test]
fn damaged_saved_states_are_named_in_one_line_and_nothing_is_overwritten() {
    let folder = folder(3);
    assert_eq!(run(arguments(folder.path(), &["--quiet"])).code, 0);
    let model = folder.path().join("out/checkpoints/step-3/model.bpk");
    let whole = fs::read(&model).unwrap();
    for damaged in [&whole[..whole.len() / 2], b"", b"not weights at all, but long enough to be"] {
        fs::write(&model, damaged).unwrap();
        let ran = run(arguments(folder.path(), &["--resume"]));
        assert_eq!((ran.code, ran.stderr.lines().count()), (2, 1), "{ran:?}");
        assert!(ran.stderr.contains("step-3/model.bpk: damaged: "), "{}", ran.stderr);
    }
    fs::write(&model, whole).unwrap();
    fs::write(folder.path().join("out/checkpoints/settings.json"), "{").unwrap();
    let ran = run(arguments(folder.path(), &["--resume"]));
    assert_eq!((ran.code, ran.stderr.lines().count()), (2, 1), "{ran:?}");
    assert!(ran.stderr.contains("settings.json: damaged: "), "{}", ran.stderr);
}

#[test]
fn data_of_one_class_is_refused_in_one_line() {
    let folder = folder(3);
    let texts = fs::read_to_string(folder.path().join("texts.csv")).unwrap();
    fs::write(folder.path().join("texts.csv"), texts.replace("others", "vowels")).unwrap();
    let ran = run(arguments(folder.path(), &[]));
    assert_eq!((ran.code, ran.stderr.lines().count()), (2, 1), "{ran:?}");
    let words = "texts.csv: all examples are of one class, \"vowels\", expected two or more";
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
    assert!(!folder.path().join("out").exists());
}

#[test]
fn a_record_that_cannot_be_read_is_left_out_with_its_own_exit_code() {
    let folder = folder(3);
    change(folder.path(), "texts.csv", "bcd,others", "bcd");
    let ran = run(arguments(folder.path(), &["--json"]));
    assert_eq!(ran.json_with_code(1)["complete"], true);
    let expected = ["warning: ", "line 3: 1 fields", "examples could not be read"];
    for words in expected {
        assert!(ran.stderr.contains(words), "no {words:?} in {}", ran.stderr);
    }
    // The run trained without it, in whichever session.
    let resumed = run(arguments(folder.path(), &["--json", "--resume"]));
    assert_eq!(resumed.json_with_code(1)["skipped"], ran.json_with_code(1)["skipped"]);
    assert!(resumed.stderr.contains("line 3: 1 fields"), "{}", resumed.stderr);
}
