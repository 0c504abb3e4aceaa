//! Every command that writes files: full disks, existing outputs, and the names of outputs.

use std::ffi::OsString;
use std::fs;
#[cfg(unix)]
use std::io::{BufRead as _, BufReader, Write as _};
#[cfg(unix)]
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
#[cfg(unix)]
use std::thread;

use image::{Rgb, RgbImage};
use serde_json::json;
use tempfile::{TempDir, tempdir};

use crate::support::{
    Run, arguments, classifier_and_flow, copy, fixture, forward, listing, photo, program, run,
};
use crate::train;
use crate::videos::{has_ffmpeg, reference};

/// Models and inputs for every command, and a folder for their outputs.
struct Scene {
    folder: TempDir,
    classifier: PathBuf,
    photo: PathBuf,
    flow: PathBuf,
    pair: [PathBuf; 2],
    autoencoder: PathBuf,
    frames: PathBuf,
    sound: PathBuf,
    labelled: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let folder = tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let [classifier, flow] = classifier_and_flow(folder.path());
        let pair = ["a.png", "b.png"].map(at);
        for (index, path) in (0..).zip(&pair) {
            let frame = RgbImage::from_fn(32, 24, |x, y| Rgb([x as u8, y as u8, 40 * index]));
            frame.save(path).unwrap();
        }
        fs::create_dir_all(at("labelled/LABEL_0")).unwrap();
        photo(&at("labelled/LABEL_0/a.png"), 20, 20);
        photo(&at("photo.png"), 20, 20);
        fs::create_dir(at("out")).unwrap();
        let videos = reference(folder.path());
        Self {
            classifier,
            photo: at("photo.png"),
            flow,
            pair,
            autoencoder: videos.model,
            frames: videos.frames,
            sound: videos.sound,
            labelled: at("labelled"),
            folder,
        }
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join("out").join(name)
    }

    /// Every command that writes a file of its own, each with the output's place.
    fn files(&self) -> Vec<(Vec<OsString>, PathBuf)> {
        let [first, second] = &self.pair;
        let text = fixture("masked_lm");
        let mut commands = Vec::new();
        let mut add = |command: Vec<OsString>, option: &str, name: &str| {
            let output = self.out(name);
            commands.push(([command, arguments![option, &output]].concat(), output));
        };
        let inputs = text.join("inputs.safetensors");
        add(
            arguments!["forward", "--model", &text, "--inputs", inputs],
            "--output",
            "a.safetensors",
        );
        add(arguments!["preprocess", &self.photo], "--output", "pixels.safetensors");
        for name in ["x.safetensors", "x.npy"] {
            let latents = ["--text", "!#", "--pool", "none"].map(OsString::from);
            add([arguments!["features", "--model", &text], latents.into()].concat(), "-o", name);
        }
        for name in ["map.png", "map.html"] {
            add(arguments!["attend", "--model", &self.classifier, &self.photo], "-o", name);
        }
        for name in ["flow.flo", "flow.png", "flow.gif", "flow.webp", "flow.mp4"] {
            if has_ffmpeg() || !matches!(name, "flow.webp" | "flow.mp4") {
                add(arguments!["flow", "--model", &self.flow, first, second], "-o", name);
            }
        }
        for name in ["clip.gif", "clip.wav", "clip.webp", "clip.mp4"] {
            if has_ffmpeg() || !matches!(name, "clip.webp" | "clip.mp4") {
                let command = arguments!["autoencode", "--model", &self.autoencoder, &self.frames];
                add([command, arguments!["--audio", &self.sound]].concat(), "-o", name);
            }
        }
        let evaluate = arguments!["evaluate", &self.classifier, &self.labelled];
        add(evaluate, "--confusion", "confusion.svg");
        commands
    }

    /// Every command that writes a folder.
    fn folders(&self) -> Vec<(Vec<OsString>, PathBuf)> {
        let [first, second] = &self.pair;
        let text = fixture("masked_lm");
        let config = text.join("config.json");
        let autoencode = arguments!["autoencode", "--model", &self.autoencoder, &self.frames, "-o"];
        let commands = [
            (autoencode, "clip"),
            (arguments!["flow", "--model", &self.flow, first, second, "-o"], "flows"),
            (arguments!["convert", &text], "converted"),
            (arguments!["init", "--head", "masked-lm", "--config", config], "fresh"),
        ];
        let with_output = commands.into_iter().map(|(mut command, name)| {
            let output = self.out(name);
            command.push(output.clone().into());
            (command, output)
        });
        with_output.collect()
    }
}

#[track_caller]
fn assert_refused(run: &Run, words: &[&str]) {
    assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run:?}");
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    for word in words {
        assert!(run.stderr.contains(word), "no {word:?} in {}", run.stderr);
    }
}

/// As on a full disk: no file can hold more than so many blocks of 512 bytes. The system sends a
/// signal too, whose default is to end the program.
#[cfg(unix)]
fn run_without_space(arguments: &[OsString], blocks: u32) -> Run {
    without_space(arguments, blocks).output().unwrap().into()
}

#[cfg(unix)]
fn without_space(arguments: &[OsString], blocks: u32) -> Command {
    let limited = format!(r#"ulimit -f {blocks}; exec "$@""#);
    let perceiver = program();
    let mut shell = Command::new("sh");
    shell.args(["-c", &limited, "sh"]).arg(perceiver.get_program()).args(arguments);
    shell.stdin(Stdio::null());
    shell
}

/// Serves a model with an empty configuration as the hub does.
#[cfg(unix)]
fn hub() -> String {
    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    fn answer(mut stream: TcpStream) -> Option<()> {
        let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
        let request = lines.next()?.ok()?;
        while !lines.next()?.ok()?.is_empty() {}
        let (head, body) = if request.contains("/api/models/") {
            let names = ["config.json", "model.safetensors"].map(|name| json!({"rfilename": name}));
            ("200 OK".to_owned(), json!({ "sha": COMMIT, "siblings": names }).to_string())
        } else {
            let range = "206 Partial Content\r\nETag: \"tag\"\r\nContent-Range: bytes 0-0/2";
            (format!("{range}\r\nX-Repo-Commit: {COMMIT}"), "{}".to_owned())
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {length}");
        write!(stream, "{head}\r\n\r\n{body}").ok()
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || listener.incoming().flatten().filter_map(answer).count());
    endpoint
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_a_failure_of_every_command_and_leaves_no_file() {
    let scene = Scene::new();
    for (command, output) in scene.files().into_iter().chain(scene.folders()) {
        // Without a byte, and with enough for a file's beginning.
        for blocks in [0, 1] {
            let full = run_without_space(&command, blocks);
            if blocks > 0 && full.code == 0 {
                // All files are that small.
                fs::remove_file(&output).or_else(|_| fs::remove_dir_all(&output)).unwrap();
                let _names = fs::remove_file(output.with_extension("json"));
                continue;
            }
            assert_eq!(full.code, 1, "{blocks} blocks: {full:?}");
            let said = full.stderr.lines().last().unwrap();
            let name = output.file_stem().unwrap().to_str().unwrap();
            assert!(said.starts_with("perceiver: error: ") && said.contains(name), "{said}");
            // Not even a folder is left.
            assert_eq!(listing(&scene.out("")), [""; 0], "{command:?}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_a_failure_while_a_model_is_downloaded() {
    let folder = tempdir().unwrap();
    let endpoint = hub();
    let recipe = train::folder(1);
    let init = train::arguments(recipe.path(), &["--init", "me/model"]);
    let init = init.into_iter().map(OsString::from).collect();
    for command in [arguments!["inspect", "me/model"], init] {
        let mut shell = without_space(&command, 0);
        shell.env("HF_ENDPOINT", &endpoint).env("HF_HOME", folder.path());
        let run = Run::from(shell.output().unwrap());
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.stderr.contains("me/model: "), "{run:?}");
        assert!(run.stderr.contains("File too large"), "{run:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn results_that_cannot_be_printed_are_a_failure() {
    let text = fixture("masked_lm");
    for command in [
        arguments!["--help"],
        arguments!["--version"],
        arguments!["tokenize", "!"],
        arguments!["completions", "bash"],
        arguments!["man"],
        arguments!["inspect", &text, "--json"],
        arguments!["classify", "--model", fixture("sequence_single_label"), "--text", "!#"],
        arguments!["fill-mask", "--model", &text, "![MASK]", "--json"],
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = program().args(&command).stdout(full).stdin(Stdio::null()).output().unwrap();
        let run = Run::from(output);
        assert_eq!(run.code, 1, "{command:?}: {run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
        assert!(run.stderr.contains("cannot write to standard output: "), "{run:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_place_where_nothing_can_be_created_is_refused_before_any_work() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new();
    fs::set_permissions(scene.out(""), fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write everywhere.
    if fs::write(scene.out("probe"), "").is_ok() {
        return;
    }
    for (command, output) in scene.files().into_iter().chain(scene.folders()) {
        let name = output.file_stem().unwrap().to_str().unwrap();
        assert_refused(&run(&command), &[name, "cannot write: Permission denied"]);
    }
}

/// Not even root creates files in /proc.
#[cfg(target_os = "linux")]
#[test]
fn nothing_is_loaded_for_an_output_in_a_file_system_without_files() {
    let scene = Scene::new();
    // Without weights, anything that loads the model fails in another way.
    let text = copy("masked_lm", scene.folder.path());
    fs::remove_file(text.join("model.safetensors")).unwrap();
    let config = text.join("config.json");
    let init = ["init", "--head", "masked-lm", "--config"].map(OsString::from);
    for output in ["/proc/converted", "/proc/sys/a/b"] {
        let convert = arguments!["convert", &text, output];
        let file = Path::new(output).with_extension("safetensors");
        assert_refused(&run(forward(&text, &config, &file)), &["cannot write: "]);
        for command in [convert, [init.to_vec(), arguments![&config, output]].concat()] {
            assert_refused(&run(&command), &[output, "cannot write: "]);
        }
    }
    let recipe = train::folder(1);
    fs::remove_file(recipe.path().join("texts.csv")).unwrap();
    let path = recipe.path().join("recipe.toml");
    let train = arguments!["train", path, "--data", recipe.path(), "--out", "/proc/run"];
    assert_refused(&run(train), &["/proc/run: cannot write: "]);
    let existing = arguments!["convert", &text, "/proc/sys", "--force"];
    assert_refused(&run(&existing), &["/proc/sys: cannot write: "]);
}

#[test]
fn an_existing_file_is_replaced_only_by_force() {
    let scene = Scene::new();
    for (command, output) in scene.files() {
        fs::write(&output, "mine").unwrap();
        let name = output.file_name().unwrap().to_str().unwrap();
        assert_refused(&run(&command), &[name, "exists; --force replaces it"]);
        assert_eq!(fs::read(&output).unwrap(), b"mine", "{command:?}");
        let replaced = run([command, arguments!["--force"]].concat());
        assert_eq!(replaced.code, 0, "{replaced:?}");
        assert_ne!(fs::read(&output).unwrap(), b"mine");
    }
}

#[test]
fn a_folder_that_holds_something_is_used_only_by_force() {
    let scene = Scene::new();
    for (command, output) in scene.folders() {
        fs::create_dir(&output).unwrap();
        fs::write(output.join("notes.txt"), "mine").unwrap();
        let name = output.file_name().unwrap().to_str().unwrap();
        assert_refused(&run(&command), &[name, "is not empty; --force"]);
        assert_eq!(listing(&output), ["notes.txt"]);
        let forced = run([command, arguments!["--force"]].concat());
        assert_eq!(forced.code, 0, "{forced:?}");
        assert_eq!(fs::read(output.join("notes.txt")).unwrap(), b"mine");
        assert!(listing(&output).len() > 1);
    }
}

#[test]
fn an_input_is_no_output() {
    let scene = Scene::new();
    let words = ["is one of the inputs; --force"];
    let before = fs::read(&scene.photo).unwrap();
    let first = &scene.pair[0];
    for command in [
        arguments!["preprocess", first, &scene.photo, "--output", &scene.photo],
        arguments!["attend", "--model", &scene.classifier, &scene.photo, "-o", &scene.photo],
        arguments!["flow", "--model", &scene.flow, first, &scene.photo, "-o", &scene.photo],
        arguments!["autoencode", &scene.frames, "--audio", &scene.sound, "-o", &scene.sound],
        arguments!["autoencode", &scene.frames, "-o", &scene.frames],
    ] {
        assert_refused(&run(&command), &words);
    }
    assert_eq!(fs::read(&scene.photo).unwrap(), before);
    let weights = copy("masked_lm", scene.folder.path()).join("model.safetensors");
    let before = fs::read(&weights).unwrap();
    let model = weights.parent().unwrap();
    let inputs = model.join("inputs.safetensors");
    let forward = |output: &Path| run(forward(model, &inputs, output));
    assert_refused(&forward(&weights), &["model.safetensors: exists; --force"]);
    assert_refused(&forward(&inputs), &words);
    assert_eq!(fs::read(&weights).unwrap(), before);
}

#[test]
fn a_name_with_a_dot_or_a_slash_is_a_folder_s() {
    let scene = Scene::new();
    let [first, second] = &scene.pair;
    for name in ["res.v2", "res.v3/", "res.gif/", "2026.11.30"] {
        let output = scene.out(name);
        let command = arguments!["autoencode", "--model", &scene.autoencoder, &scene.frames, "-o"];
        let ran = run([command, arguments![&output]].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(listing(&output).first().map(String::as_str), Some("000001.png"));
        fs::remove_dir_all(&output).unwrap();
        let ran = run(arguments!["flow", "--model", &scene.flow, first, second, "-o", &output]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(listing(&output), ["a.png"]);
    }
    let file = arguments!["attend", "--model", &scene.classifier, &scene.photo, "-o"];
    let refused = run([file, arguments![scene.out("map.png/")]].concat());
    assert_refused(&refused, &["map.png/: names a folder, expected a file"]);
}

/// Folders, patterns and single files go in; pictures, folders and models come out.
#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_unicode_go_in_and_out() {
    use std::os::unix::ffi::OsStringExt;
    let scene = Scene::new();
    let named = |start: &[u8], ending: &str| {
        OsString::from_vec([start, b"\xE9\xFF", ending.as_bytes()].concat())
    };
    let photos = scene.out("").join(named(b"photos", ""));
    fs::create_dir(&photos).unwrap();
    let names = [named(b"a", ".png"), named(b"b", ".png"), named(b"c", ".png")];
    for (name, path) in names.iter().zip(scene.pair.iter().cycle()) {
        fs::copy(path, photos.join(name)).unwrap();
    }
    let classify = arguments!["classify", "--model", &scene.classifier, "--json"];
    let inputs = [photos.clone(), photos.join("*.png"), scene.out("photos??/?[!a]*.png")];
    for input in inputs.into_iter().chain([scene.out("**/*.png")]) {
        let ran = run([classify.clone(), arguments![&input]].concat());
        assert_eq!((ran.code, ran.documents().len()), (0, 3), "{input:?}: {ran:?}");
    }
    let first = photos.join(&names[0]);
    assert_eq!(run([classify, arguments![&first]].concat()).documents().len(), 1);

    let output = |ending: &str| scene.out("").join(named(b"out", ending));
    let (flows, model) = (output("flows"), output("model"));
    let labelled = scene.out("").join(named(b"labelled", ""));
    fs::create_dir_all(labelled.join("LABEL_0")).unwrap();
    fs::copy(&first, labelled.join("LABEL_0").join(&names[0])).unwrap();
    for command in [
        arguments!["flow", "--model", &scene.flow, &photos, "-o", &flows],
        arguments!["attend", "--model", &scene.classifier, &first, "-o", output(".png")],
        arguments!["features", "--model", &scene.classifier, &photos, "-o", output(".npy")],
        arguments!["preprocess", &first, "--output", output(".safetensors")],
        arguments!["autoencode", "--model", &scene.autoencoder, &photos, "-o", output("again")],
        arguments!["autoencode", "--model", &scene.autoencoder, &photos, "-o", output(".gif")],
        arguments!["convert", &scene.classifier, &model],
        arguments!["inspect", &model],
        arguments!["evaluate", &model, &labelled, "--confusion", output(".svg")],
    ] {
        let ran = run(&command);
        assert_eq!(ran.code, 0, "{command:?}: {ran:?}");
    }
    let written = fs::read_dir(&flows).unwrap().map(|entry| entry.unwrap().file_name());
    let mut written: Vec<_> = written.collect();
    written.sort();
    assert_eq!(written, names[..2]);
    assert!(output(".svg").is_file() && output("again").is_dir());
}
