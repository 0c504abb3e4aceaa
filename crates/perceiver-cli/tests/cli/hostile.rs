//! Weights that are not numbers, names that are not text, and pipes in the place of files.

use std::fs;
use std::path::Path;

use safetensors::tensor::Dtype;
use tempfile::tempdir;

use crate::support::{
    Run, arguments, classifier_and_flow, copy, edit, floats, forward, ids, listing, photo, run,
    write,
};
use crate::videos::reference;

/// Fills the weights of a model with NaN.
fn spoil(model: &Path) {
    edit(&model.join("model.safetensors"), |tensors| {
        for tensor in tensors.values_mut().filter(|tensor| tensor.dtype == Dtype::F32) {
            tensor.bytes.fill(0xff);
        }
    });
}

#[test]
fn results_that_are_not_numbers_are_errors_that_name_the_weights() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let [photos, flow] = classifier_and_flow(folder.path());
    let [texts, masks] =
        ["sequence_single_label", "masked_lm"].map(|case| copy(case, folder.path()));
    fs::create_dir(at("clip")).unwrap();
    let clip = reference(&at("clip"));
    for model in [&photos, &flow, &texts, &masks, &clip.model] {
        spoil(model);
    }
    for name in ["a.png", "b.png"] {
        photo(&at(name), 32, 24);
    }
    fs::write(at("table.csv"), "text,label\n!,LABEL_0\n#,LABEL_1\n").unwrap();
    fs::write(at("lines.txt"), "!\n#\n").unwrap();
    write(&at("in.safetensors"), &[("inputs".to_owned(), ids(&[1, 2], &[7, 8]))].into());
    let before = listing(folder.path());
    let (first, second) = (at("a.png"), at("b.png"));
    for (model, command) in [
        (
            &texts,
            arguments!["classify", "--model", &texts, "--text-file", at("lines.txt"), "--json"],
        ),
        (&photos, arguments!["classify", "--model", &photos, &first, &second]),
        (&texts, arguments!["features", "--model", &texts, "--text", "!", "-o", at("x.npy")]),
        (&flow, arguments!["features", "--model", &flow, &first, &second, "-o", at("x.npy")]),
        (&masks, arguments!["fill-mask", "--model", &masks, "![MASK]"]),
        (&texts, arguments!["attend", "--model", &texts, "--text", "!", "-o", at("x.html")]),
        (&flow, arguments!["flow", "--model", &flow, &first, &second, "-o", at("x.png")]),
        (
            &clip.model,
            arguments!["autoencode", "--model", &clip.model, &clip.frames, "-o", at("x.gif")],
        ),
        (&texts, arguments!["evaluate", &texts, at("table.csv")]),
        (&texts, forward(&texts, &at("in.safetensors"), &at("out.safetensors"))),
    ] {
        let ran = run(&command);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{command:?}: {ran:?}");
        let error = ran.stderr.lines().last().unwrap();
        let weights = format!("{}: ", model.join("model.safetensors").display());
        assert!(error.contains(&weights), "{command:?}: {error}");
        assert!(error.contains("its tensor perceiver."), "{command:?}: {error}");
        assert!(error.ends_with("has NaN or infinite values"), "{command:?}: {error}");
        let warnings = ran.stderr.lines().filter(|line| line.contains("warning: ")).count();
        assert!(warnings <= 1, "{ran:?}");
    }
    assert_eq!(listing(folder.path()), before);
}

#[test]
fn outputs_beyond_the_numbers_of_finite_weights_are_errors() {
    let folder = tempdir().unwrap();
    let model = copy("sequence_single_label", folder.path());
    edit(&model.join("model.safetensors"), |tensors| {
        let biases = tensors.iter_mut().find(|(key, _)| key.ends_with("final_layer.bias"));
        let (_, bias) = biases.unwrap();
        *bias = floats(&bias.shape, &vec![f32::MAX; bias.shape[0]]);
        let weights = tensors.iter_mut().find(|(key, _)| key.ends_with("final_layer.weight"));
        let (_, weight) = weights.unwrap();
        *weight = floats(&weight.shape, &vec![f32::MAX; weight.shape.iter().product()]);
    });
    let ran = run(arguments!["classify", "--model", &model, "--text", "!"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert!(ran.stderr.contains("its weights are finite, but too large"), "{ran:?}");
}

#[cfg(unix)]
mod names {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;

    use super::*;

    fn inputs(ran: &Run) -> Vec<String> {
        let name = |answer: serde_json::Value| answer["input"].as_str().unwrap().to_owned();
        ran.documents().into_iter().map(name).collect()
    }

    #[test]
    fn names_that_are_not_text_stay_distinct_in_every_result() {
        let folder = tempdir().unwrap();
        let [classifier, _] = classifier_and_flow(folder.path());
        let photos = folder.path().join("photos");
        fs::create_dir(&photos).unwrap();
        photo(&folder.path().join("a.png"), 9, 9);
        for name in [b"caf\xe8.png", b"caf\xe9.png"] {
            let place = photos.join(OsStr::from_bytes(name));
            if fs::copy(folder.path().join("a.png"), place).is_err() {
                return; // This file system takes Unicode alone.
            }
        }
        let expected = ["\\xE8", "\\xE9"].map(|byte| format!("{}/caf{byte}.png", photos.display()));
        let classify = |more: &[&str]| {
            let mut command = arguments!["classify", "--model", &classifier, &photos];
            command.extend(more.iter().map(Into::into));
            run(command)
        };
        assert_eq!(inputs(&classify(&["--json"])), expected);
        for output in [classify(&[]).stdout, classify(&["--csv"]).stdout] {
            assert!(expected.iter().all(|name| output.contains(name)), "{output}");
        }
        let features = folder.path().join("x.npy");
        let command = arguments!["features", "--model", &classifier, &photos, "-o", &features];
        assert_eq!(run(command).code, 0);
        let names = fs::read_to_string(folder.path().join("x.json")).unwrap();
        assert!(names.contains("caf\\\\xE8.png") && names.contains("caf\\\\xE9.png"), "{names}");
    }

    #[test]
    fn a_name_cannot_turn_the_direction_of_the_terminal() {
        let folder = tempdir().unwrap();
        let [classifier, _] = classifier_and_flow(folder.path());
        let path = folder.path().join("\u{202e}gnp.png");
        photo(&path, 9, 9);
        let ran = run(arguments!["classify", "--model", &classifier, &path]);
        assert!(ran.stdout.contains("\\u{202e}gnp.png"), "{ran:?}");
        assert!(!ran.stdout.contains('\u{202e}'), "{ran:?}");
    }

    fn pipe(path: &Path) {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    /// Reading one would wait for ever.
    #[test]
    fn pipes_in_folders_are_not_read() {
        let folder = tempdir().unwrap();
        let [classifier, _] = classifier_and_flow(folder.path());
        let photos = folder.path().join("photos");
        fs::create_dir(&photos).unwrap();
        photo(&photos.join("a.png"), 9, 9);
        pipe(&photos.join("b.png"));
        let pattern = photos.join("*.png");
        for input in [&photos, &pattern] {
            let ran = run(arguments!["classify", "--model", &classifier, input, "--json"]);
            assert_eq!((ran.code, inputs(&ran).len()), (0, 1), "{ran:?}");
        }
        for name in ["preprocessor_config.json", "model.safetensors", "config.json"] {
            fs::rename(classifier.join(name), folder.path().join("kept")).unwrap();
            pipe(&classifier.join(name));
            let ran = run(arguments!["classify", "--model", &classifier, photos.join("a.png")]);
            assert_eq!((ran.code, ran.stderr.lines().count()), (2, 1), "{name}: {ran:?}");
            fs::rename(folder.path().join("kept"), classifier.join(name)).unwrap();
        }
    }
}
