//! `perceiver evaluate`: metrics of models on labelled data.

use std::fs;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{
    arguments, assert_close, configure, copy, edit, fixture, image_settings, logits, photo, run,
    softmax,
};

/// The class that the model finds in a photo or text.
fn found(classify: Vec<std::ffi::OsString>) -> String {
    run(classify).json()["labels"][0]["label"].as_str().unwrap().to_owned()
}

fn image_model(folder: &Path) -> PathBuf {
    let model = copy("image_fourier", folder);
    image_settings(&model, 12);
    model
}

#[test]
fn photos_count_as_right_where_classify_finds_their_folder() {
    let folder = tempdir().unwrap();
    let model = image_model(folder.path());
    let photos = folder.path().join("photos");
    let sizes = [(12, 15), (40, 20), (31, 31), (16, 50)];
    for (index, (width, height)) in sizes.into_iter().enumerate() {
        let path = folder.path().join("photo.png");
        photo(&path, width, height);
        let class = found(arguments!["classify", "--model", &model, &path, "--json"]);
        // One of four lies in the folder of another class.
        let other = if class == "LABEL_0" { "LABEL_1" } else { "LABEL_0" };
        let place = photos.join(if index == 2 { other } else { &class });
        fs::create_dir_all(&place).unwrap();
        fs::rename(&path, place.join(format!("{index}.png"))).unwrap();
    }
    let picture = folder.path().join("confusion.svg");
    let evaluate =
        arguments!["evaluate", &model, &photos, "--json", "--batch", "3", "--confusion", &picture];
    let run = run(evaluate);
    let answer = run.json();
    assert_eq!(answer["examples"], 4);
    assert_close(&answer["measures"]["accuracy"], 75.0);
    let counts = answer["classes"].as_array().unwrap().iter();
    let answers = counts.flat_map(|class| class["answers"].as_object().unwrap().values());
    assert_eq!(answers.map(|count| count.as_u64().unwrap()).sum::<u64>(), 4);
    assert!(fs::read_to_string(picture).unwrap().contains("accuracy 75.00 %, macro F1"));
}

#[test]
fn texts_count_as_right_where_classify_finds_their_label() {
    let folder = tempdir().unwrap();
    let model = fixture("sequence_single_label");
    let texts = ["!!!", "$%&", "+ + +"];
    let classes = texts
        .map(|text| found(arguments!["classify", "--model", &model, "--text", text, "--json"]));
    let others = ["LABEL_0", "LABEL_1"].into_iter().find(|label| *label != classes[0]);
    let labels = [others.unwrap(), &classes[1], &classes[2]];
    let rows = texts.iter().zip(labels).map(|(text, label)| format!("{label},{text}\n"));
    let table = folder.path().join("test.csv");
    fs::write(&table, format!("label,text\n{}", rows.collect::<String>())).unwrap();
    let answer = run(arguments!["evaluate", &model, &table, "--json"]).json();
    assert_eq!(answer["examples"], 3);
    assert_close(&answer["measures"]["accuracy"], 200.0 / 3.0);

    let names = |label: &str| label.trim_start_matches("LABEL_").parse::<usize>().unwrap();
    let losses = texts.iter().zip(labels).map(|(text, label)| {
        let bytes = text.bytes().map(|byte| i64::from(byte) + 6);
        let ids: Vec<i64> = [4].into_iter().chain(bytes).chain([5]).collect();
        -softmax(&logits(&model, &ids).values)[names(label)].ln()
    });
    assert_close(&answer["loss"], losses.sum::<f64>() / 3.0);
}

#[test]
fn hidden_words_cost_what_the_logits_say() {
    let folder = tempdir().unwrap();
    let model = fixture("masked_lm");
    let book = folder.path().join("book.txt");
    // The only word is asked for, whatever is drawn.
    fs::write(&book, "!#$\n").unwrap();
    let answer = run(arguments!["evaluate", &model, &book, "--json"]).json();
    let logits = logits(&model, &[4, 3, 3, 3, 5]).values;
    let row = |token: usize| softmax(&logits[token * 53..][..53]);
    let bits = [(1, 39), (2, 41), (3, 42)].map(|(token, id)| -row(token)[id].log2());
    let mean = bits.iter().sum::<f64>() / 3.0;
    let found = answer["measures"]["bits per byte"].as_f64().unwrap();
    assert!((found - mean).abs() < 1e-5, "{found} is not {mean}");
    let perplexity = answer["perplexity"].as_f64().unwrap();
    assert!((perplexity.log2() - mean).abs() < 1e-5, "{perplexity}");
}

/// Frames of noise, the second shifted by three pixels to the right.
#[test]
fn flow_is_compared_with_zero_flow_and_a_global_shift() {
    let folder = tempdir().unwrap();
    let model = copy("optical_flow", folder.path());
    configure(&model, "train_size", json!([32, 32]));
    let (pairs, side) = (folder.path().join("pairs"), 32_u32);
    fs::create_dir(&pairs).unwrap();
    let level = |x: u32, y: u32| ((x * 7919 + y * 104_729) % 251) as u8;
    for (name, shift) in [("a_1.png", 3), ("a_2.png", 0)] {
        let frame = RgbImage::from_fn(side, side, |x, y| Rgb([level((x + shift) % side, y); 3]));
        frame.save(pairs.join(name)).unwrap();
    }
    let truth = (0..side * side).flat_map(|_| [3_f32, 0.0]).flat_map(f32::to_le_bytes);
    let header = [*b"PIEH", side.to_le_bytes(), side.to_le_bytes()].concat();
    fs::write(pairs.join("a.flo"), [header, truth.collect()].concat()).unwrap();
    let answer = run(arguments!["evaluate", &model, &pairs, "--json"]).json();
    assert_close(&answer["zero_flow"]["end-point error"], 3.0);
    assert_close(&answer["end_point_errors"][0]["zero_flow"], 3.0);
    assert!(answer["global_shift"]["end-point error"].as_f64().unwrap() < 0.1, "{answer}");
    let flow = arguments![
        "flow",
        "--model",
        &model,
        pairs.join("a_1.png"),
        pairs.join("a_2.png"),
        "--ground-truth",
        pairs.join("a.flo"),
        "--json"
    ];
    let same = run(flow).json();
    assert_close(&answer["measures"]["end-point error"], same["end_point_error"].as_f64().unwrap());
}

/// Writes a recipe with some `[data]`, whose training part is never read.
pub(crate) fn recipe(path: &Path, architecture: &str, data: &str) {
    let text = format!(
        "name = \"a\"\narchitecture = \"{architecture}\"\n[data]\n{data}\n\
         [optimiser]\nname = \"adam-w\"\nlearning_rate = 0.001\n\
         [run]\nsteps = 1\nbatch_size = 1\nvalidate_every = 1\n"
    );
    fs::write(path, text).unwrap();
}

#[test]
fn a_recipe_names_its_validation_data() {
    let folder = tempdir().unwrap();
    let (table, path) = (folder.path().join("test.csv"), folder.path().join("recipe.toml"));
    fs::write(&table, "label,text\nLABEL_0,!!\nLABEL_1,##\n").unwrap();
    let data = "kind = \"text-table\"\ntrain = \"nowhere.csv\"\nvalidation = \"test.csv\"\n\
                label = \"label\"\nlength = 8";
    recipe(&path, "PerceiverForSequenceClassification", data);
    let model = fixture("sequence_single_label");
    let by_recipe =
        run(arguments!["evaluate", &model, &path, "--data", folder.path(), "--json"]).json();
    assert_eq!(by_recipe, run(arguments!["evaluate", &model, &table, "--json"]).json());

    let refused = run(arguments!["evaluate", fixture("masked_lm"), &path]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("is for a PerceiverForSequence"), "{}", refused.stderr);
}

/// The share of masked words in training does not matter.
#[test]
fn a_recipe_is_evaluated_with_the_masks_of_its_validations() {
    let folder = tempdir().unwrap();
    let (book, path) = (folder.path().join("book.txt"), folder.path().join("recipe.toml"));
    fs::write(&book, "!# $% &' () +, -. ".repeat(20)).unwrap();
    let data = "kind = \"plain-text\"\ntrain = [\"nowhere.txt\"]\nvalidation = [\"book.txt\"]\n\
                length = 16\nmask_probability = 0.9";
    recipe(&path, "PerceiverForMaskedLM", data);
    let model = fixture("masked_lm");
    let by_recipe =
        run(arguments!["evaluate", &model, &path, "--data", folder.path(), "--json"]).json();
    assert_eq!(by_recipe, run(arguments!["evaluate", &model, &book, "--json"]).json());
}

#[test]
fn generated_pairs_are_made_as_the_recipe_says() {
    let folder = tempdir().unwrap();
    let model = copy("optical_flow", folder.path());
    configure(&model, "train_size", json!([24, 32]));
    let (photos, path) = (folder.path().join("photos"), folder.path().join("recipe.toml"));
    fs::create_dir(&photos).unwrap();
    photo(&photos.join("a.png"), 90, 80);
    let answer = |setting: &str| {
        let data = format!(
            "kind = \"generated-flow\"\ntrain = \"nowhere\"\nvalidation = \"photos\"\n\
             validation_pairs = 3\nmax_motion = 4.0\n{setting}"
        );
        recipe(&path, "PerceiverForOpticalFlow", &data);
        run(arguments!["evaluate", &model, &path, "--data", folder.path(), "--json"]).json()
    };
    let usual = answer("");
    assert_eq!(usual["examples"], 3);
    let still = usual["zero_flow"]["end-point error"].as_f64().unwrap();
    assert!(0.0 < still && still <= 4.0, "{usual}");
    // Light does not change the true flow, but it changes the model's answer.
    let lit = answer("changes_light = false");
    assert_eq!(lit["zero_flow"], usual["zero_flow"]);
    assert_ne!(lit["measures"], usual["measures"]);
    let seen = |answer: &Value| answer["known_pixels"].as_u64().unwrap();
    assert!(seen(&answer("counts_hidden = false")) < seen(&usual));
}

#[test]
fn a_bad_example_is_skipped_and_named() {
    let folder = tempdir().unwrap();
    let model = image_model(folder.path());
    let class = folder.path().join("photos/LABEL_3");
    fs::create_dir_all(&class).unwrap();
    photo(&class.join("good.png"), 20, 20);
    fs::write(class.join("bad.png"), "no photo").unwrap();
    let photos = folder.path().join("photos");
    // Beside a good one, and alone in a batch.
    for batch in ["2", "1"] {
        let run = run(arguments!["evaluate", &model, &photos, "--batch", batch, "--json"]);
        let answer = run.json_with_code(1);
        assert_eq!([&answer["examples"], &answer["skipped"]], [1, 1]);
        assert!(run.stderr.contains("1 of 2 examples could not be read"), "{}", run.stderr);
        assert!(run.stderr.contains("bad.png"), "{}", run.stderr);
    }
}

/// The class of index 3 is called LABEL_3, whether by a folder's name or by a label.
#[test]
fn labels_by_index_count_as_those_by_name_and_are_said_to_be() {
    let folder = tempdir().unwrap();
    let (model, texts) = (image_model(folder.path()), fixture("sequence_single_label"));
    for (index, class) in ["LABEL_3", "LABEL_0"].into_iter().enumerate() {
        for name in [class, class.trim_start_matches("LABEL_")] {
            let kind = if name == class { "names" } else { "indexes" };
            let place = folder.path().join(kind).join(name);
            fs::create_dir_all(&place).unwrap();
            photo(&place.join("a.png"), 20 + index as u32, 30);
        }
    }
    fs::write(folder.path().join("names.csv"), "label,text\nLABEL_1,!!\nLABEL_0,##\n").unwrap();
    fs::write(folder.path().join("indexes.csv"), "label,text\n1,!!\n0,##\n").unwrap();
    let path = |name: &str| folder.path().join(name);
    for (model, names, indexes) in
        [(&model, path("names"), path("indexes")), (&texts, path("names.csv"), path("indexes.csv"))]
    {
        let named = run(arguments!["evaluate", model, &names, "--json"]);
        let indexed = run(arguments!["evaluate", model, &indexes, "--json"]);
        assert_eq!(indexed.json(), named.json());
        assert!(!named.stderr.contains("by index"), "{}", named.stderr);
        assert!(indexed.stderr.contains("by index, 0 as \"LABEL_0\""), "{}", indexed.stderr);
    }
    // One label is a name, so the other is not an index.
    fs::write(path("mixed.csv"), "label,text\nLABEL_1,!!\n0,##\n").unwrap();
    let mixed = run(arguments!["evaluate", &texts, path("mixed.csv")]);
    assert_eq!(mixed.code, 2, "{mixed:?}");
    assert!(mixed.stderr.contains("record 2: \"0\" is not one of the classes"), "{mixed:?}");
}

#[test]
fn the_only_value_of_a_model_may_be_called_label() {
    let folder = tempdir().unwrap();
    let model = fixture("sequence_regression");
    let answer = |column: &str| {
        let table = folder.path().join("test.csv");
        fs::write(&table, format!("text,{column}\n!!,0.5\n##,1.5\n")).unwrap();
        run(arguments!["evaluate", &model, &table, "--json"])
    };
    assert_eq!(answer("label").json(), answer("LABEL_0").json());
    let other = answer("score");
    assert_eq!(other.code, 2, "{other:?}");
    assert!(other.stderr.contains("no column `LABEL_0`, found"), "{}", other.stderr);
}

/// Frames of one colour; `truth` is the flow of all their pixels.
fn pair(folder: &Path, name: &str, truth: [f32; 2]) {
    let side = 32_u32;
    for number in ["1", "2"] {
        let frame = RgbImage::from_pixel(side, side, Rgb([90, 120, 200]));
        frame.save(folder.join(format!("{name}_{number}.png"))).unwrap();
    }
    let truth = (0..side * side).flat_map(|_| truth).flat_map(f32::to_le_bytes);
    let header = [*b"PIEH", side.to_le_bytes(), side.to_le_bytes()].concat();
    fs::write(folder.join(format!("{name}.flo")), [header, truth.collect()].concat()).unwrap();
}

#[test]
fn a_pair_that_cannot_be_measured_is_left_out_and_alone_is_an_error() {
    let folder = tempdir().unwrap();
    let model = copy("optical_flow", folder.path());
    configure(&model, "train_size", json!([32, 32]));
    let (pairs, unknown) = (folder.path().join("pairs"), folder.path().join("unknown"));
    fs::create_dir(&pairs).unwrap();
    fs::create_dir(&unknown).unwrap();
    pair(&pairs, "a", [3.0, 4.0]);
    let alone = run(arguments!["evaluate", &model, &pairs, "--json"]).json();
    pair(&pairs, "b", [1e10; 2]);
    pair(&pairs, "c", [1.0; 2]);
    fs::remove_file(pairs.join("c_2.png")).unwrap();
    let ran = run(arguments!["evaluate", &model, &pairs, "--json"]);
    let answer = ran.json_with_code(1);
    assert_eq!([&answer["examples"], &answer["skipped"]], [1, 2]);
    assert_eq!(answer["measures"], alone["measures"]);
    for words in ["c.flo: its frame ", "pair 2: no pixel's flow is known", "2 of 3 examples"] {
        assert!(ran.stderr.contains(words), "no {words:?} in {}", ran.stderr);
    }

    pair(&unknown, "b", [1e10; 2]);
    let ran = run(arguments!["evaluate", &model, &unknown, "--json"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("pair 1: no pixel's flow is known"), "{}", ran.stderr);
}

/// The weights of such a model load with a warning; its answers have no mean.
#[test]
fn a_result_that_is_not_a_number_is_an_error() {
    let folder = tempdir().unwrap();
    let model = copy("sequence_single_label", folder.path());
    edit(&model.join("model.safetensors"), |tensors| {
        let tensor = tensors.get_mut("perceiver.embeddings.latents").unwrap();
        tensor.bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    let table = folder.path().join("test.csv");
    fs::write(&table, "label,text\nLABEL_0,!!\nLABEL_1,##\nLABEL_1,%%\n").unwrap();
    let ran = run(arguments!["evaluate", &model, &table, "--json", "--batch", "2"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert!(ran.stderr.contains("loss of examples 1 to 2 is NaN"), "{}", ran.stderr);
}

#[test]
fn a_damaged_video_is_left_out_and_sound_that_is_not_a_number_is_damage() {
    let folder = tempdir().unwrap();
    let model = copy("multimodal", folder.path());
    fs::copy(fixture("../autoencode").join("config.json"), model.join("config.json")).unwrap();
    let video = |name: &str| {
        let place = folder.path().join(name);
        fs::create_dir(&place).unwrap();
        for index in 0..3 {
            photo(&place.join(format!("{index}.png")), 24, 20);
        }
        place
    };
    let (good, noisy) = (video("good"), video("noisy"));
    // A WAV file of three floats at 1000 Hz.
    let numbers =
        |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>();
    let samples = [0.5, f32::NAN, 0.25].map(f32::to_bits);
    let form = [numbers(&[16, 1 << 16 | 3, 1000, 4000, 32 << 16 | 4]), b"data".to_vec()].concat();
    let head = [b"RIFF".to_vec(), numbers(&[48]), b"WAVEfmt ".to_vec()].concat();
    let wav = [head, form, numbers(&[12]), numbers(&samples)].concat();
    fs::write(noisy.join("sound.wav"), wav).unwrap();
    let ran = run(arguments!["evaluate", &model, &good, &noisy, "--json"]);
    let answer = ran.json_with_code(1);
    assert_eq!([&answer["examples"], &answer["skipped"]], [1, 1]);
    for words in ["sample 1 is NaN", "1 of 2 examples could not be read"] {
        assert!(ran.stderr.contains(words), "no {words:?} in {}", ran.stderr);
    }
    let ran = run(arguments!["evaluate", &model, &noisy, "--json"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert!(ran.stderr.contains("no example could be read: "), "{}", ran.stderr);
}

#[test]
fn a_model_with_one_class_is_not_evaluated() {
    let folder = tempdir().unwrap();
    let model = image_model(folder.path());
    configure(&model, "id2label", json!({ "0": "cat" }));
    configure(&model, "label2id", json!({ "cat": 0 }));
    fs::create_dir_all(folder.path().join("photos/cat")).unwrap();
    photo(&folder.path().join("photos/cat/a.png"), 20, 20);
    let ran = run(arguments!["evaluate", &model, folder.path().join("photos")]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
    assert!(ran.stderr.contains("has one class, expected two or more"), "{}", ran.stderr);
}

/// The first photo sets the size, unless the model's learned positions do.
#[test]
fn photos_of_another_size_are_skipped() {
    let folder = tempdir().unwrap();
    let class = folder.path().join("photos/LABEL_3");
    fs::create_dir_all(&class).unwrap();
    for (name, side) in [("a.png", 7), ("b.png", 6), ("c.png", 6)] {
        photo(&class.join(name), side, side);
    }
    for (case, examples, expected) in
        [("image_fourier", 1, "expected 7x7"), ("image_learned", 2, "expected 6x6")]
    {
        let model = copy(case, folder.path());
        let as_they_are = json!({ "do_resize": false, "do_center_crop": false });
        fs::write(model.join("preprocessor_config.json"), as_they_are.to_string()).unwrap();
        let run = run(arguments!["evaluate", &model, folder.path().join("photos"), "--json"]);
        assert_eq!(run.json_with_code(1)["examples"], examples, "{run:?}");
        assert!(run.stderr.contains(expected), "{}", run.stderr);
    }
}

#[test]
fn people_see_a_table() {
    let folder = tempdir().unwrap();
    let table = folder.path().join("test.csv");
    fs::write(&table, "label,text\nLABEL_0,!!\nLABEL_1,##\n").unwrap();
    let run = run(arguments!["evaluate", fixture("sequence_single_label"), &table]);
    assert_eq!(run.code, 0, "{run:?}");
    for words in ["2 examples", "accuracy", "macro F1", "loss", "LABEL_0"] {
        assert!(run.stdout.contains(words), "no {words} in {}", run.stdout);
    }
}

#[test]
fn tokens_that_the_model_lacks_are_refused_unless_they_pad() {
    let folder = tempdir().unwrap();
    let languages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/languages");
    let model = folder.path().join("model");
    fs::create_dir(&model).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(languages.join(name), model.join(name)).unwrap();
    }
    let tokens = json!({ "500": { "content": "[PAD]" }, "501": { "content": "<x>" } });
    let settings = json!({ "added_tokens_decoder": tokens });
    fs::write(model.join("tokenizer_config.json"), settings.to_string()).unwrap();
    let evaluate = |model: &Path, texts: &str| {
        let table = folder.path().join("texts.csv");
        fs::write(&table, format!("label,text\n{texts}")).unwrap();
        run(arguments!["evaluate", model, &table, "--json"])
    };
    let texts = "english,The cat.\ngerman,Der Hund auf dem Sofa.\n";
    assert_eq!(evaluate(&model, texts).json(), evaluate(&languages, texts).json());
    let refused = evaluate(&model, "english,a <x>\n");
    assert_eq!(refused.code, 2, "{refused:?}");
    let expected = "the model knows 262 tokens, found token 501";
    assert!(refused.stderr.contains(expected), "{}", refused.stderr);
}

#[test]
fn data_that_does_not_fit_is_refused_in_one_line() {
    let folder = tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let unknown = path("unknown.csv", "label,text\nLABEL_9,!!\n");
    let letters = path("letters.csv", "label,text\nLABEL_0,abc\n");
    let book = path("book.txt", "abc\n");
    let sequence = fixture("sequence_single_label");
    let short = copy("masked_lm", folder.path());
    configure(&short, "max_position_embeddings", json!(8));
    let picture = folder.path().join("picture.svg");
    for (arguments, words) in [
        (arguments!["evaluate", &sequence, &unknown], "not one of the classes"),
        (arguments!["evaluate", &sequence, &letters], "the model knows"),
        (
            arguments!["evaluate", &sequence, &letters, &unknown],
            "unknown.csv: found 2 files, expected one table",
        ),
        (arguments!["evaluate", fixture("masked_lm"), &book], "the model knows"),
        (arguments!["evaluate", fixture("masked_lm"), "nowhere.txt"], "nowhere.txt"),
        (arguments!["evaluate", &short, &book], "takes 8 tokens, expected 9 or more"),
        (arguments!["evaluate", fixture("image_fourier"), &book], "expected a folder"),
        (arguments!["evaluate", fixture("optical_flow"), folder.path()], "holds no pairs"),
        (
            arguments!["evaluate", fixture("model_blocks"), &book],
            "cannot evaluate a PerceiverModel",
        ),
        (
            arguments!["evaluate", fixture("masked_lm"), &book, "--confusion", &picture],
            "has no classes to confuse",
        ),
        (arguments!["evaluate", &sequence, &letters, "--confusion", &book], "--force replaces it"),
        (
            arguments!["evaluate", &sequence, &letters, "--confusion", folder.path().join("a.png")],
            "unknown ending, expected .svg",
        ),
    ] {
        let run = run(&arguments);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert!(run.stderr.contains(words), "no {words:?} in {}", run.stderr);
    }
    assert!(!picture.exists());
}
