//! Recipes run from their file to a model, resume exactly, and are refused in one line if they cannot
//! run.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]
#![cfg(feature = "flex")]

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
use perceiver_models::{Head, PerceiverForSequenceClassification, PerceiverHead as _};
use perceiver_train::recipe::{Data, Recipe, TrainOptions};
use perceiver_train::report::{LOG_NAME, Log, Part, Record};
use perceiver_train::{Ending, Finished, StopHandle, TrainingEvent};

/// Ten steps on texts of two kinds, with all state of a run beside its weights: moments, a schedule, an
/// average, accumulated gradients and dropout.
const RECIPE: &str = r#"
name = "parity of vowels"
architecture = "PerceiverForSequenceClassification"

[model]
num_latents = 2
d_latents = 4
d_model = 8
num_self_attends_per_block = 1
num_self_attention_heads = 2
num_cross_attention_heads = 1
max_position_embeddings = 8
attention_probs_dropout_prob = 0.1

[data]
kind = "text-table"
train = "train.csv"
validation = "validation.csv"
label = "kind"
length = 8

[optimiser]
name = "adam-w"
learning_rate = 0.01
weight_decay = 0.1

[schedule]
shape = "cosine"
warmup_steps = 3

[run]
steps = 10
batch_size = 2
accumulation = 2
validate_every = 4
log_every = 5
workers = 2
max_norm = 0.5
average_decay = 0.9
seed = 3
"#;

fn folder_with(recipe: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let table = "text,kind\naaa,vowels\nbcd,others\neie,vowels\nkkl,others\nou,vowels\nzx,others\n";
    fs::write(folder.path().join("recipe.toml"), recipe).unwrap();
    fs::write(folder.path().join("train.csv"), table).unwrap();
    fs::write(folder.path().join("validation.csv"), table).unwrap();
    folder
}

/// Fresh weights and dropout draw from a generator of the whole process: concurrent runs would disturb
/// each other.
static ALONE: Mutex<()> = Mutex::new(());

fn options(folder: &Path, out: &str) -> TrainOptions {
    TrainOptions::new(folder.join(out)).data(folder).device(&Device::flex())
}

/// Runs the recipe of a folder, and stops it when the log reaches a step.
fn run(folder: &Path, out: &str, resume: bool, stop_at: Option<u64>) -> Result<Ending, String> {
    run_freezing(false, folder, out, resume, stop_at).map(|finished| finished.ending)
}

fn run_freezing(
    freeze_encoder: bool,
    folder: &Path,
    out: &str,
    resume: bool,
    stop_at: Option<u64>,
) -> Result<Finished, String> {
    let recipe = Recipe::from_file(folder.join("recipe.toml")).map_err(|e| e.to_string())?;
    let stop = StopHandle::default();
    let handle = stop.clone();
    let options = options(folder, out).freeze_encoder(freeze_encoder).resume(resume);
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let finished = recipe.train(options.stop_handle(&stop), move |event| {
        if let TrainingEvent::Logged(record) = event
            && Some(record.step) == stop_at
        {
            handle.stop();
        }
    });
    finished.map_err(|error| error.to_string())
}

/// The log without its times, which differ.
fn records(folder: &Path, out: &str) -> Vec<Record> {
    let log = Log::read(folder.join(out).join(LOG_NAME)).unwrap();
    let records = log.train.into_iter().chain(log.validation);
    records.map(|record| Record { seconds: 0.0, ..record }).collect()
}

fn weights(folder: &Path, out: &str) -> Vec<u8> {
    fs::read(folder.join(out).join("model.safetensors")).unwrap()
}

#[test]
fn a_resumed_run_is_the_run_that_was_never_stopped() {
    let folder = folder_with(RECIPE);
    let folder = folder.path();
    assert_eq!(run(folder, "whole", false, None).unwrap(), Ending::Complete);
    let stopped = run(folder, "parts", false, Some(5)).unwrap();
    assert_eq!(stopped, Ending::Interrupted { step: 5 });
    assert_eq!(run(folder, "parts", true, None).unwrap(), Ending::Complete);
    assert_eq!(records(folder, "parts"), records(folder, "whole"));
    assert!(weights(folder, "parts") == weights(folder, "whole"), "other weights");
}

#[test]
fn a_run_stopped_in_its_last_validation_is_not_complete() {
    let folder = folder_with(RECIPE);
    let folder = folder.path();
    run(folder, "whole", false, None).unwrap();
    let stopped = run(folder, "parts", false, Some(10)).unwrap();
    assert_eq!(stopped, Ending::Interrupted { step: 10 });
    assert_eq!(run(folder, "parts", true, None).unwrap(), Ending::Complete);
    assert_eq!(records(folder, "parts"), records(folder, "whole"));
    assert!(weights(folder, "parts") == weights(folder, "whole"), "other weights");
}

#[test]
fn a_resumed_run_keeps_its_encoder_frozen() {
    let folder = folder_with(RECIPE);
    let folder = folder.path();
    run_freezing(true, folder, "whole", false, None).unwrap();
    run_freezing(true, folder, "parts", false, Some(5)).unwrap();
    let finished = run_freezing(false, folder, "parts", true, None).unwrap();
    assert_eq!(finished.ending, Ending::Complete);
    assert!(weights(folder, "parts") == weights(folder, "whole"), "other weights");
    // Older runs, and runs that froze nothing, leave no mark.
    let mark = "checkpoints/encoder-is-frozen";
    assert!(folder.join("parts").join(mark).exists());
    run(folder, "learning", false, None).unwrap();
    assert!(!folder.join("learning").join(mark).exists());
}

const PHOTOS: &str = r#"
name = "photos"
architecture = "PerceiverForImageClassificationFourier"

[model]
num_latents = 2
d_latents = 8
d_model = 261
num_blocks = 1
num_self_attends_per_block = 1
num_self_attention_heads = 1
num_cross_attention_heads = 1
attention_probs_dropout_prob = 0.0

[data]
kind = "image-folder"
train = "photos"
validation = "photos"

[data.images]
size = [8, 8]

[optimiser]
name = "adam-w"
learning_rate = 0.01

[run]
steps = 6
batch_size = 1
validate_every = 2
"#;

#[test]
fn a_photo_that_cannot_be_read_costs_no_step_even_alone_in_a_batch() {
    let folder = folder_with(PHOTOS);
    let folder = folder.path();
    for (class, red) in [("cats", 20), ("dogs", 200)] {
        let place = folder.join("photos").join(class);
        fs::create_dir_all(&place).unwrap();
        let photo = image::RgbImage::from_pixel(8, 8, image::Rgb([red, 90, 90]));
        photo.save(place.join("good.png")).unwrap();
    }
    fs::write(folder.join("photos/dogs/torn.png"), "no photo").unwrap();
    // A file that is passed over says nothing about labels.
    fs::write(folder.join("photos/cats/Thumbs.db"), "no photo").unwrap();
    let finished = run_freezing(false, folder, "whole", false, None).unwrap();
    assert_eq!(finished.ending, Ending::Complete);
    let reasons = finished.skipped.reasons;
    assert!(reasons.iter().all(|reason| reason.contains("torn.png")), "{reasons:?}");
    assert!(!reasons.is_empty());

    let stopped = run(folder, "parts", false, Some(2)).unwrap();
    assert!(matches!(stopped, Ending::Interrupted { .. }));
    assert_eq!(run(folder, "parts", true, None).unwrap(), Ending::Complete);
    assert!(weights(folder, "parts") == weights(folder, "whole"), "other weights");

    for good in ["photos/cats/good.png", "photos/dogs/good.png"] {
        fs::write(folder.join(good), "no photo").unwrap();
    }
    let error = run(folder, "none", false, None).unwrap_err();
    assert!(error.starts_with("no example could be read: ") && error.contains(".png"), "{error}");
}

#[test]
fn the_same_seed_gives_the_same_run_bit_for_bit() {
    let folder = folder_with(RECIPE);
    let folder = folder.path();
    for out in ["first", "second"] {
        run(folder, out, false, None).unwrap();
    }
    assert_eq!(records(folder, "first"), records(folder, "second"));
    assert!(weights(folder, "first") == weights(folder, "second"), "other weights");
}

#[test]
fn steps_are_validated_at_intervals_and_at_the_end() {
    let folder = folder_with(RECIPE);
    run(folder.path(), "out", false, None).unwrap();
    let steps = |part| {
        let of_part = records(folder.path(), "out").into_iter().filter(move |r| r.part == part);
        of_part.map(|record| record.step).collect::<Vec<_>>()
    };
    assert_eq!(steps(Part::Validation), [4, 8, 10]);
    assert_eq!(steps(Part::Train), [4, 5, 8, 10]);
}

#[test]
fn a_trained_model_is_a_folder_that_loads() {
    let folder = folder_with(RECIPE);
    run(folder.path(), "out", false, None).unwrap();
    let out = folder.path().join("out");
    let model = PerceiverForSequenceClassification::from_pretrained(&out, &Device::flex()).unwrap();
    let names: Vec<_> = model.config.id2label.values().cloned().collect();
    assert_eq!(names, ["others", "vowels"]);
    assert!(perceiver_data::PerceiverTokenizer::from_pretrained(out).is_ok());
}

#[test]
fn a_damaged_last_checkpoint_costs_a_step_and_not_the_run() {
    let folder = folder_with(RECIPE);
    let folder = folder.path();
    run(folder, "whole", false, None).unwrap();
    run(folder, "parts", false, Some(5)).unwrap();
    let last = folder.join("parts/checkpoints/step-5/optimiser.bpk");
    let bytes = fs::read(&last).unwrap();
    fs::write(last, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(run(folder, "parts", true, None).unwrap(), Ending::Complete);
    assert!(weights(folder, "parts") == weights(folder, "whole"), "other weights");
}

#[test]
fn a_run_of_another_model_is_refused_by_the_name_of_a_parameter() {
    let folder = folder_with(RECIPE);
    let folder = folder.path();
    run(folder, "out", false, Some(5)).unwrap();
    // As in folders of older versions.
    fs::remove_file(folder.join("out/checkpoints/settings.json")).unwrap();
    let other = RECIPE.replace("num_latents = 2", "num_latents = 3");
    fs::write(folder.join("recipe.toml"), other).unwrap();
    let error = run(folder, "out", true, None).unwrap_err();
    assert!(error.contains("step-5/model.bpk: weights of another model: "), "{error}");
    assert!(error.ends_with("latents` has shape [2, 4], expected [3, 4]"), "{error}");
}

/// Some of these change no shape, so the weights would load.
#[test]
fn a_run_of_another_recipe_is_refused_by_the_first_key_that_differs() {
    let folder = folder_with(RECIPE);
    let folder = folder.path();
    run(folder, "out", false, Some(5)).unwrap();
    let model = "num_cross_attention_heads = 1\n";
    for (from, to, expected) in [
        (
            "num_self_attention_heads = 2",
            "num_self_attention_heads = 4",
            "`model.num_self_attention_heads` is 4, the saved run has 2;",
        ),
        (
            model,
            "num_cross_attention_heads = 1\nnum_blocks = 2\n",
            "`model.num_blocks` is 2, the saved run has 1;",
        ),
        (
            model,
            "num_cross_attention_heads = 1\nhidden_act = \"relu\"\n",
            "`model.hidden_act` is \"relu\", the saved run has \"gelu\";",
        ),
        ("num_latents = 2", "num_latents = 3", "`model.num_latents` is 3, the saved run has 2;"),
        ("\"adam-w\"", "\"lamb\"", "`optimiser.name` is \"lamb\", the saved run has \"adam-w\";"),
        (
            "weight_decay = 0.1",
            "weight_decay = 0.2",
            "`optimiser.weight_decay` is 0.2, the saved run has 0.1;",
        ),
        (
            "shape = \"cosine\"",
            "shape = \"constant\"",
            "`schedule.shape` is \"constant\", the saved run has \"cosine\";",
        ),
        (
            "\"train.csv\"",
            "\"validation.csv\"",
            "`data.train` is \"validation.csv\", the saved run has \"train.csv\";",
        ),
        ("seed = 3", "seed = 4", "`run.seed` is 4, the saved run has 3;"),
        (
            "average_decay = 0.9",
            "average_decay = 0.8",
            "`run.average_decay` is 0.8, the saved run has 0.9;",
        ),
        ("accumulation = 2", "accumulation = 1", "`run.accumulation` is 1, the saved run has 2;"),
    ] {
        assert!(RECIPE.contains(from), "{from}");
        fs::write(folder.join("recipe.toml"), RECIPE.replacen(from, to, 1)).unwrap();
        let error = run(folder, "out", true, None).unwrap_err();
        assert!(error.contains(expected), "no {expected:?} in {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    fs::write(folder.join("recipe.toml"), RECIPE.replace("steps = 10", "steps = 4")).unwrap();
    let error = run(folder, "out", true, None).unwrap_err();
    assert!(error.ends_with("out: steps is 4, expected the 5 of the saved run or more"), "{error}");
    // A default that is written out is the same setting.
    let written = RECIPE.replace(model, "num_cross_attention_heads = 1\nnum_blocks = 1\n");
    fs::write(folder.join("recipe.toml"), written).unwrap();
    assert_eq!(run(folder, "out", true, None).unwrap(), Ending::Complete);
}

#[test]
fn nothing_is_resumed_where_there_is_no_run_and_a_run_without_a_checkpoint_starts() {
    let folder = folder_with(RECIPE);
    let folder = folder.path();
    let error = run(folder, "out", true, None).unwrap_err();
    assert!(error.ends_with("out: nothing to resume: it holds no run"), "{error}");
    assert!(!folder.join("out").exists());
    // A run that was killed before its first checkpoint.
    run(folder, "out", false, Some(5)).unwrap();
    for name in ["step-4", "step-5"] {
        fs::remove_dir_all(folder.join("out/checkpoints").join(name)).unwrap();
    }
    assert_eq!(run(folder, "out", true, None).unwrap(), Ending::Complete);
    run(folder, "whole", false, None).unwrap();
    assert!(weights(folder, "out") == weights(folder, "whole"), "other weights");
}

#[test]
fn the_state_of_another_optimiser_is_damage_where_no_settings_were_saved() {
    let folder = folder_with(RECIPE);
    let folder = folder.path();
    run(folder, "out", false, Some(5)).unwrap();
    let checkpoints = folder.join("out/checkpoints");
    // As in folders of older versions.
    for name in ["settings.json", "step-5/state.json"] {
        fs::remove_file(checkpoints.join(name)).unwrap();
    }
    fs::copy(checkpoints.join("step-5/model.bpk"), checkpoints.join("step-5/optimiser.bpk"))
        .unwrap();
    let error = run(folder, "out", true, None).unwrap_err();
    assert!(error.contains("step-5/optimiser.bpk: "), "{error}");
    assert!(error.contains("state of another optimiser: 0 of "), "{error}");
}

#[test]
fn every_file_of_a_checkpoint_belongs_to_its_step_and_ends_where_it_should() {
    let folder = folder_with(RECIPE);
    let folder = folder.path();
    run(folder, "out", false, Some(5)).unwrap();
    let file = |step: &str, name: &str| folder.join("out/checkpoints").join(step).join(name);
    fs::remove_dir_all(folder.join("out/checkpoints/step-4")).unwrap();
    let names = ["model.bpk", "optimiser.bpk", "schedule.bpk"];
    // As older versions wrote it, and with what ties the files to their step.
    let manifest = fs::read(file("step-5", "state.json")).unwrap();
    for tied in [true, false] {
        if !tied {
            fs::remove_file(file("step-5", "state.json")).unwrap();
        }
        for name in names {
            let path = file("step-5", name);
            let whole = fs::read(&path).unwrap();
            let longer = [&whole[..], &[0; 100]].concat();
            let mut others = vec![longer, whole[..whole.len() / 2].to_vec()];
            let schedule = fs::read(file("step-5", "schedule.bpk")).unwrap();
            let foreign = if name == "schedule.bpk" { "optimiser.bpk" } else { "schedule.bpk" };
            others.push(fs::read(file("step-5", foreign)).unwrap());
            for other in others {
                fs::write(&path, other).unwrap();
                let error = run(folder, "out", true, None).unwrap_err();
                assert!(error.contains(&format!("step-5/{name}: ")), "{name}, {tied}: {error}");
                assert_eq!(error.lines().count(), 1, "{error}");
            }
            fs::write(&path, whole).unwrap();
            assert_eq!(schedule.len(), 256);
        }
    }
    fs::write(file("step-5", "state.json"), manifest).unwrap();
    assert_eq!(run(folder, "out", true, None).unwrap(), Ending::Complete);
    run(folder, "whole", false, None).unwrap();
    assert!(weights(folder, "out") == weights(folder, "whole"), "other weights");
}

#[test]
fn the_state_of_another_step_or_run_is_damage() {
    let folder = folder_with(RECIPE);
    let folder = folder.path();
    run(folder, "out", false, Some(5)).unwrap();
    let step = |name: &str| folder.join("out/checkpoints").join(name);
    let saved = fs::read(step("step-5/schedule.bpk")).unwrap();
    fs::copy(step("step-4/schedule.bpk"), step("step-5/schedule.bpk")).unwrap();
    fs::rename(step("step-4"), step("step-3")).unwrap();
    let error = run(folder, "out", true, None).unwrap_err();
    let expected = "step-5/schedule.bpk: damaged: not the file that step 5 of this run saved";
    assert!(error.ends_with(expected), "{error}");
    fs::write(step("step-5/schedule.bpk"), saved).unwrap();
    fs::rename(step("step-5"), step("step-6")).unwrap();
    let error = run(folder, "out", true, None).unwrap_err();
    assert!(error.ends_with("step-6: damaged: holds the states of step 5"), "{error}");
    // A run of another seed, whose states fit.
    fs::rename(step("step-6"), step("step-5")).unwrap();
    fs::remove_dir_all(step("step-3")).unwrap();
    let text = fs::read_to_string(step("settings.json")).unwrap();
    fs::write(step("settings.json"), text.replace("\"run.seed\": 3", "\"run.seed\": 4")).unwrap();
    let error = run(folder, "out", true, None).unwrap_err();
    let expected = "step-5: damaged: holds the states of a run with other settings";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn a_file_in_the_place_of_a_checkpoint_is_refused_before_the_first_step() {
    let folder = folder_with(RECIPE);
    let folder = folder.path();
    run(folder, "out", false, Some(5)).unwrap();
    let place = folder.join("out/checkpoints/step-8");
    fs::write(&place, "mine").unwrap();
    let error = run(folder, "out", true, None).unwrap_err();
    let expected = "step-8: damaged: not a folder, expected that of a checkpoint";
    assert!(error.ends_with(expected), "{error}");
    assert_eq!(fs::read(&place).unwrap(), b"mine");
}

#[test]
fn a_run_does_not_write_over_another() {
    let folder = folder_with(RECIPE);
    run(folder.path(), "out", false, Some(4)).unwrap();
    let error = run(folder.path(), "out", false, None).unwrap_err();
    assert!(error.contains("holds a run already"), "{error}");
}

#[test]
fn a_run_does_not_write_over_the_documents_of_other_work() {
    for name in ["README.md", "learning-curve.svg"] {
        let folder = folder_with(RECIPE);
        fs::create_dir(folder.path().join("out")).unwrap();
        let document = folder.path().join("out").join(name);
        fs::write(&document, "mine").unwrap();
        for resume in [false, true] {
            let error = run(folder.path(), "out", resume, None).unwrap_err();
            let expected = format!("out: holds another {name}, expected a folder without one");
            assert!(error.ends_with(&expected), "{error}");
        }
        assert_eq!(fs::read(&document).unwrap(), b"mine");
    }
}

#[test]
fn a_run_does_not_write_over_a_model() {
    let folder = folder_with(RECIPE);
    fs::create_dir(folder.path().join("out")).unwrap();
    let config = folder.path().join("out/config.json");
    fs::write(&config, "{}").unwrap();
    for resume in [false, true] {
        let error = run(folder.path(), "out", resume, None).unwrap_err();
        assert!(error.ends_with("out: holds a model already; choose another folder"), "{error}");
        assert_eq!(fs::read_to_string(&config).unwrap(), "{}");
    }
}

/// burn adds up the gradients of devices: a step of two has twice the batches.
#[test]
fn two_devices_make_the_steps_of_one_that_accumulates_twice_as_much() {
    let recipe = RECIPE
        .replace("steps = 10", "steps = 4")
        .replace("dropout_prob = 0.1", "dropout_prob = 0.0");
    let folder = folder_with(&recipe);
    let folder = folder.path();
    run(folder, "one", false, None).unwrap();
    fs::write(folder.join("recipe.toml"), recipe.replace("accumulation = 2", "accumulation = 1"))
        .unwrap();
    let recipe = Recipe::from_file(folder.join("recipe.toml")).unwrap();
    let options = options(folder, "two").devices([Device::flex(), Device::flex()]);
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let finished = recipe.train(options, |_| {}).unwrap();
    assert_eq!(finished.ending, Ending::Complete);
    assert!(weights(folder, "two") == weights(folder, "one"), "other weights");
}

/// The recipe validates every 4 of 10 steps.
#[test]
fn a_refused_run_leaves_no_run_to_resume() {
    let folder = folder_with(RECIPE);
    let folder = folder.path();
    let recipe = Recipe::from_file(folder.join("recipe.toml")).unwrap();
    let refused = |resume| {
        let options = options(folder, "two").devices([Device::flex(), Device::flex()]);
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        recipe.train(options.resume(resume), |_| {}).unwrap_err().to_string()
    };
    let expected = "several devices stop only at validations: 0 of 10 steps are done";
    assert!(refused(false).contains(expected), "{}", refused(false));
    assert!(!folder.join("two").exists());
    assert!(refused(true).ends_with("nothing to resume: it holds no run"), "{}", refused(true));
}

#[test]
fn a_checkpoint_of_another_head_gives_all_weights_that_fit() {
    let folder = folder_with(RECIPE);
    let folder = folder.path();
    fs::write(folder.join("text.txt"), "the cat sat on the mat\n").unwrap();
    let masked = RECIPE
        .replace("PerceiverForSequenceClassification", "PerceiverForMaskedLM")
        .replace("kind = \"text-table\"", "kind = \"plain-text\"")
        .replace("\"train.csv\"", "[\"text.txt\"]")
        .replace("\"validation.csv\"", "[\"text.txt\"]")
        .replace("label = \"kind\"\n", "")
        .replace("length = 8", "length = 16")
        .replace("max_position_embeddings = 8", "max_position_embeddings = 16");
    fs::write(folder.join("recipe.toml"), masked).unwrap();
    run(folder, "language", false, None).unwrap();

    fs::write(
        folder.join("recipe.toml"),
        RECIPE.replace("steps = 10", "steps = 4").replace("embeddings = 8", "embeddings = 16"),
    )
    .unwrap();
    let recipe = Recipe::from_file(folder.join("recipe.toml")).unwrap();
    let options = options(folder, "spam").init(folder.join("language")).freeze_encoder(true);
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    recipe
        .train(options, |event| {
            if let TrainingEvent::Fresh(keys) = event {
                assert!(keys.iter().all(|key| key.starts_with("perceiver.decoder.")), "{keys:?}");
            }
        })
        .unwrap();
    let tensor = |out: &str, key: &str| {
        perceiver_models::Checkpoint::open(folder.join(out)).unwrap().read(key).unwrap()
    };
    let [latents, query] = [
        "perceiver.embeddings.latents",
        "perceiver.encoder.cross_attention.attention.self.query.weight",
    ];
    for frozen in [latents, query] {
        assert_eq!(tensor("spam", frozen), tensor("language", frozen), "{frozen}");
    }
}

#[test]
fn wrong_recipes_are_refused_in_one_line() {
    let wrong = [
        ("steps = 10", "stepz = 10", "line 32, column 1: unknown field `stepz`"),
        ("steps = 10", "steps = 0", "`run.steps` is 0, expected 1 to 4294967295"),
        (
            "batch_size = 2",
            "batch_size = 4000000000",
            "`run.batch_size` is 4000000000, expected 1 to 65536",
        ),
        ("steps = 10", "steps = \"many\"", "line 32, column 9: invalid type: string"),
        ("num_latents = 2", "num_latentz = 2", "[model]: unknown field `num_latentz`"),
        ("d_latents = 4", "d_latents = 5", "[model]: "),
        ("length = 8", "length = 16", "expected at most the 8 of `model.max_position_embeddings`"),
        ("\"train.csv\"", "\"absent.csv\"", "absent.csv: cannot read"),
        ("label = \"kind\"", "label = \"sort\"", "train.csv: "),
        ("PerceiverForSequence", "PerceiverForSequences", "`architecture` "),
        ("\"text-table\"", "\"videos\"", "line "),
        ("learning_rate = 0.01", "learning_rate = 2", "`optimiser.learning_rate` is 2"),
        ("warmup_steps = 3", "warmup_steps = 10", "expected fewer than the 10 of the run"),
        ("average_decay = 0.9", "average_decay = 1.5", "`run.average_decay` is 1.5"),
        ("[schedule]", "[plan]", "unknown field `plan`"),
        ("name = \"adam-w\"", "name = \"adam\"", "unknown variant `adam`"),
        (
            "num_latents = 2",
            "num_latents = 2\nproblem_type = \"multi_label_classification\"",
            "`model.problem_type` does not fit `data.label`, expected single_label_classification",
        ),
        (
            "length = 8",
            "length = 8\nmask_probability = 2",
            "`data.mask_probability` is 2, expected a number from 0 to 1",
        ),
        (
            "learning_rate = 0.01",
            "learning_rate = 1e300",
            "`optimiser.learning_rate` is 1e300, expected a number greater than 0, at most 1",
        ),
        ("max_norm = 0.5", "max_norm = 0", "`run.max_norm` is 0, expected a number greater than 0"),
        (
            "average_decay = 0.9",
            "average_decay = 1",
            "`run.average_decay` is 1, expected a number from 0 to less than 1",
        ),
        ("steps = 10", "steps = 1e18", "expected a whole number for `steps`"),
        (
            "num_latents = 2",
            "num_latents = nan",
            "`model.num_latents` is NaN, expected a finite number",
        ),
    ];
    for (right, changed, expected) in wrong {
        let folder = folder_with(&RECIPE.replacen(right, changed, 1));
        let error = run(folder.path(), "out", false, None).unwrap_err();
        assert!(error.contains(expected), "{changed}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(!folder.path().join("out").exists(), "{changed} began a run");
    }
}

#[test]
fn a_class_that_only_the_validation_has_is_refused() {
    let folder = folder_with(RECIPE);
    fs::write(folder.path().join("validation.csv"), "text,kind\nab,mixed\n").unwrap();
    let error = run(folder.path(), "out", false, None).unwrap_err();
    assert!(
        error.contains("validation.csv: record 1: \"mixed\" is not one of the classes"),
        "{error}"
    );
}

#[test]
fn data_of_one_class_is_refused() {
    let folder = folder_with(PHOTOS);
    let folder = folder.path();
    let photo = image::RgbImage::new(8, 8);
    fs::create_dir_all(folder.join("photos/cats")).unwrap();
    photo.save(folder.join("photos/cats/a.png")).unwrap();
    let error = run(folder, "out", false, None).unwrap_err();
    let expected = "photos: all examples are of one class, \"cats\", expected two or more";
    assert!(error.ends_with(expected), "{error}");
    // The recipe knows another class, of which there is no example.
    let names = "num_latents = 2\nid2label = { 0 = \"cats\", 1 = \"dogs\" }";
    fs::write(folder.join("recipe.toml"), PHOTOS.replace("num_latents = 2", names)).unwrap();
    assert!(run(folder, "out", false, None).unwrap_err().ends_with(expected));

    let idx = |magic: u8, extents: &[u32], values: &[u8]| {
        let extents = extents.iter().flat_map(|extent| extent.to_be_bytes());
        [0, 0, 8, magic]
            .into_iter()
            .chain(extents)
            .chain(values.iter().copied())
            .collect::<Vec<_>>()
    };
    fs::write(folder.join("images"), idx(3, &[2, 1, 2], &[1, 2, 3, 4])).unwrap();
    fs::write(folder.join("labels"), idx(1, &[2], &[1, 1])).unwrap();
    let files = "= [\"images\", \"labels\"]";
    let idx = PHOTOS
        .replace("\"image-folder\"", "\"idx-images\"\nclasses = [\"cats\", \"dogs\"]")
        .replace("= \"photos\"\nvalidation = \"photos\"", &format!("{files}\nvalidation {files}"));
    fs::write(folder.join("recipe.toml"), idx).unwrap();
    let error = run(folder, "out", false, None).unwrap_err();
    let expected = "labels: all examples are of one class, \"dogs\", expected two or more";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn names_of_classes_in_the_recipe_fit_labels_by_name_and_by_index() {
    let names = "num_latents = 2\nid2label = { 0 = \"vowels\", 1 = \"others\" }";
    let folder = folder_with(&RECIPE.replace("num_latents = 2", names));
    let folder = folder.path();
    run(folder, "named", false, None).unwrap();
    for file in ["train.csv", "validation.csv"] {
        let table = fs::read_to_string(folder.join(file)).unwrap();
        let table = table.replace("vowels", "0").replace("others", "1");
        fs::write(folder.join(file), table).unwrap();
    }
    run(folder, "indexed", false, None).unwrap();
    assert!(weights(folder, "named") == weights(folder, "indexed"), "other weights");
    let config = fs::read_to_string(folder.join("indexed/config.json")).unwrap();
    assert!(config.contains("\"0\": \"vowels\""), "{config}");

    // Nobody has said which name of the training data is number 0.
    let table = "text,kind\naaa,vowels\nbcd,others\n";
    fs::write(folder.join("train.csv"), table).unwrap();
    fs::write(folder.join("recipe.toml"), RECIPE).unwrap();
    let error = run(folder, "none", false, None).unwrap_err();
    assert!(error.contains("validation.csv: labels are numbers, those of the training"), "{error}");
}

const FLOW: &str = r#"
name = "flow"
architecture = "PerceiverForOpticalFlow"

[model]
num_latents = 2
d_latents = 8
d_model = 322
num_blocks = 1
num_self_attends_per_block = 1
num_self_attention_heads = 1
num_cross_attention_heads = 1
train_size = [8, 8]
attention_probs_dropout_prob = 0.0

[data]
kind = "flow-pairs"
train = "pairs"
validation = "pairs"
loss = { distance = "robust", smaller_sizes = 1 }

[optimiser]
name = "lamb"
learning_rate = 0.01

[run]
steps = 6
batch_size = 1
validate_every = 3
log_every = 1
max_norm = 1.0
"#;

fn pair(folder: &Path, name: &str, motion: [f32; 2]) {
    for number in ["1", "2"] {
        let frame = image::RgbImage::from_pixel(8, 8, image::Rgb([90, 9, 200]));
        frame.save(folder.join(format!("{name}_{number}.png"))).unwrap();
    }
    let mut flow = [b"PIEH".to_vec(), 8_u32.to_le_bytes().repeat(2)].concat();
    flow.extend((0..64).flat_map(|_| motion).flat_map(f32::to_le_bytes));
    fs::write(folder.join(format!("{name}.flo")), flow).unwrap();
}

#[test]
fn a_batch_without_a_known_pixel_counts_nothing() {
    let folder = folder_with(FLOW);
    let folder = folder.path();
    let pairs = folder.join("pairs");
    fs::create_dir(&pairs).unwrap();
    pair(&pairs, "unknown", [1e10; 2]);
    pair(&pairs, "known", [1.0, 2.0]);
    assert_eq!(run(folder, "out", false, None).unwrap(), Ending::Complete);
    let records = records(folder, "out");
    let logged: Vec<_> = records.iter().filter(|record| record.part == Part::Train).collect();
    // Each pair comes three times; steps of the other one have no line.
    assert_eq!(logged.len(), 3);
    assert!(records.iter().all(|record| record.loss.is_finite()), "{records:?}");
    let model = perceiver_models::PerceiverForOpticalFlow::from_pretrained(
        folder.join("out"),
        &Device::flex(),
    );
    assert!(model.unwrap().report.non_finite.is_empty());

    // The log is silent about such steps, but not for ever.
    fs::remove_file(pairs.join("known.flo")).unwrap();
    let error = run(folder, "none", false, None).unwrap_err();
    let expected = "metric `end-point error` counted no examples in the train part at step ";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn a_model_of_generated_flow_names_the_largest_motion_of_its_pairs() {
    let start = FLOW.find("kind = ").unwrap();
    let end = FLOW.find("[optimiser]").unwrap();
    let data = "kind = \"generated-flow\"\ntrain = \"photos\"\nvalidation = \"photos\"\n\
        validation_pairs = 1\nmax_motion = 1.5\n\n";
    let recipe = format!("{}{data}{}", &FLOW[..start], &FLOW[end..]);
    let folder = folder_with(&recipe);
    let folder = folder.path();
    fs::create_dir(folder.join("photos")).unwrap();
    let photo =
        image::RgbImage::from_fn(20, 20, |x, y| image::Rgb([x * 9, y * 7, x * y].map(|i| i as u8)));
    photo.save(folder.join("photos/photo.png")).unwrap();
    assert_eq!(run(folder, "out", false, None).unwrap(), Ending::Complete);
    let config = perceiver_models::PerceiverConfig::from_pretrained(folder.join("out")).unwrap();
    let motion = perceiver_models::PerceiverForOpticalFlow::trained_motion(&config).unwrap();
    assert_eq!(motion, Some(1.5));
}

#[test]
fn recipes_of_the_repository_describe_models_that_can_be_built() {
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let mut count = 0;
    for folder in [recipes.clone(), recipes.join("paper")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let recipe = Recipe::from_file(&path).unwrap();
            let classes = match &recipe.settings.data {
                Data::IdxImages(data) => data.classes.clone(),
                _ => Vec::new(),
            };
            // Sizes of models for any data are those of the training part.
            if recipe.head != Head::AnyData {
                recipe.config(&classes).unwrap();
            }
            count += 1;
        }
    }
    assert!(count >= 9, "{count} recipes");
}
