//! Files as other programs write them: byte order marks, other separators, unknown sizes, uneven times.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use perceiver_data::read_frames;
use serde_json::json;
use tempfile::tempdir;

use crate::support::{Run, arguments, copy, fixture, image_settings, photo, run, run_with_input};
use crate::videos::{Reference, autoencode, has_ffmpeg, reference};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn utf16(text: &str) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// The inputs that a run of `classify --json` names.
fn inputs(run: &Run) -> Vec<String> {
    let documents = run.documents();
    documents.iter().map(|answer| answer["input"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn texts_are_the_same_whatever_program_wrote_them() {
    let folder = tempdir().unwrap();
    let model = fixture("sequence_single_label");
    let path = folder.path().join("texts.txt");
    let text = "!#\n$$\n";
    let classify =
        |file: &Path| run(arguments!["classify", "--model", &model, "--json", "--text-file", file]);
    for bytes in [
        text.as_bytes().to_vec(),
        b"\xef\xbb\xbf!#\r\n\r\n  \r\n$$\r\n".to_vec(),
        utf16("!#\r\n$$"),
        gzip(text.as_bytes()),
        gzip(&utf16("\n!#\r$$\n")),
    ] {
        fs::write(&path, &bytes).unwrap();
        let answer = classify(&path);
        assert_eq!(
            (answer.code, inputs(&answer)),
            (0, vec!["!#".into(), "$$".into()]),
            "{answer:?}"
        );
        let command = arguments!["classify", "--model", &model, "--json", "--text-file", "-"];
        assert_eq!(run_with_input(command, &bytes).stdout, answer.stdout);
    }
    fs::write(&path, [0xff, 0xfe, 0x00, 0xd8]).unwrap();
    let refused = classify(&path);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("texts.txt: invalid UTF-16 at byte 2"), "{refused:?}");
}

#[test]
fn a_line_that_is_not_text_does_not_stop_the_others() {
    let folder = tempdir().unwrap();
    let texts = folder.path().join("texts.csv");
    fs::write(&texts, b"!#\ncaf\xe9\n$$\n").unwrap();
    let model = fixture("sequence_single_label");
    let answer = run(arguments!["classify", "--model", &model, "--json", "--text-file", &texts]);
    assert_eq!((answer.code, inputs(&answer)), (1, vec!["!#".into(), "$$".into()]), "{answer:?}");
    let expected = format!("{}: invalid UTF-8 at byte 6, in line 2", texts.display());
    assert!(answer.stderr.contains(&expected), "{answer:?}");
    assert!(answer.stderr.contains("a table is read as texts, one per line"), "{answer:?}");
    fs::write(&texts, b"\xe9\n![MASK]\n").unwrap();
    let filled =
        run(arguments!["fill-mask", "--model", fixture("masked_lm"), "--file", &texts, "--json"]);
    assert_eq!((filled.code, filled.documents().len()), (1, 1), "{filled:?}");
}

#[test]
fn words_to_choose_from_have_no_byte_order_mark() {
    let folder = tempdir().unwrap();
    let (model, words) = (fixture("masked_lm"), folder.path().join("words.txt"));
    fs::write(&words, b"\xef\xbb\xbf!\r\n\r\n#\r\n").unwrap();
    let command =
        arguments!["fill-mask", "--model", &model, "--words", &words, "--json", "![MASK]"];
    let answer = run(command).json();
    let candidates = answer["spans"][0]["candidates"].as_array().unwrap();
    let mut found: Vec<_> = candidates.iter().map(|one| one["text"].clone()).collect();
    found.sort_by_key(ToString::to_string);
    assert_eq!(json!(found), json!(["!", "#"]));
}

#[test]
fn folders_and_patterns_of_texts_are_read_and_other_files_named() {
    let folder = tempdir().unwrap();
    let (model, texts) = (fixture("sequence_single_label"), folder.path().join("texts"));
    fs::create_dir_all(texts.join("more")).unwrap();
    for (name, text) in [("b.txt", "#"), ("a.TXT", "!"), ("c.md", "$"), ("more/d.txt", "%")] {
        fs::write(texts.join(name), text).unwrap();
    }
    fs::write(texts.join("e.txt.gz"), gzip(b"&")).unwrap();
    let classify =
        |file: &Path| run(arguments!["classify", "--model", &model, "--json", "--text-file", file]);
    let answer = classify(&texts);
    assert_eq!(inputs(&answer), ["!", "#", "&", "%"], "{answer:?}");
    assert!(answer.stderr.contains("passed over, without the ending of a text: c.md"));
    assert_eq!(inputs(&classify(&texts.join("?.md"))), ["$"]);
    fs::write(texts.join("empty.txt"), "").unwrap();
    fs::write(texts.join("latin.txt"), b"caf\xe9").unwrap();
    let answer = classify(&texts);
    assert_eq!((answer.code, inputs(&answer).len()), (1, 4), "{answer:?}");
    assert!(answer.stderr.contains("latin.txt: invalid UTF-8 at byte 3"), "{answer:?}");
    assert!(answer.stderr.contains("1 of 5 inputs failed"), "{answer:?}");
    fs::remove_file(texts.join("latin.txt")).unwrap();
    assert_eq!(inputs(&classify(&texts.join("**/*.txt"))), ["!", "#", "%"]);
}

/// The model's answers are not right or wrong here; the number of records is.
#[test]
fn tables_of_every_form_hold_the_same_records() {
    let folder = tempdir().unwrap();
    let model = fixture("sequence_single_label");
    let csv = "text,label\n\"!, #\",LABEL_0\n$$,LABEL_1\n%,LABEL_0\n";
    let objects = [("!, #", "LABEL_0"), ("$$", "LABEL_1"), ("%", "LABEL_0")]
        .map(|(text, label)| json!({ "text": text, "label": label }));
    let lines = objects.iter().map(|object| format!("{object}\r\n")).collect::<String>();
    let tsv = "label\ttext\nLABEL_0\t!, #\nLABEL_1\t$$\nLABEL_0\t%\n";
    let expected = run({
        fs::write(folder.path().join("a.csv"), csv).unwrap();
        arguments!["evaluate", &model, &folder.path().join("a.csv"), "--json"]
    });
    assert_eq!(expected.json()["examples"], 3);
    for (name, bytes) in [
        ("marked.csv", format!("\u{feff}{csv}").into_bytes()),
        (
            "semicolons.csv",
            csv.replace("!, #\"", "!@ #\"").replace(',', ";").replace('@', ",").into(),
        ),
        ("tabs.tsv", tsv.into()),
        ("TABS.TSV.GZ", gzip(tsv.as_bytes())),
        ("wide.csv", utf16(csv)),
        ("packed.csv.gz", gzip(csv.as_bytes())),
        ("marked.jsonl", format!("\u{feff}{lines}").into_bytes()),
        ("packed.jsonl.gz", gzip(lines.as_bytes())),
        ("lines.ndjson", format!("\n{lines}\n").into_bytes()),
        ("array.json", format!("\u{feff}{:#}", json!(objects)).into_bytes()),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let found = run(arguments!["evaluate", &model, &path, "--json"]);
        assert_eq!(found.stdout, expected.stdout, "{name}: {found:?}");
    }
}

#[test]
fn recipes_may_begin_with_a_byte_order_mark() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("recipe.toml");
    fs::write(&path, "\u{feff}name = 1\r\n").unwrap();
    let out = folder.path().join("out");
    let refused = run(arguments!["train", &path, "--out", &out]);
    assert!(
        refused.stderr.contains("recipe.toml: ") && refused.stderr.contains("`name`")
            || refused.stderr.contains("expected a string"),
        "{refused:?}"
    );
}

#[test]
fn photos_of_every_usual_ending_are_read_from_a_folder_and_others_named() {
    let folder = tempdir().unwrap();
    let model = copy("image_fourier", folder.path());
    image_settings(&model, 9);
    let photos = folder.path().join("photos");
    fs::create_dir(&photos).unwrap();
    let (jpeg, png) = (photos.join("a.jpeg"), photos.join("b.png"));
    photo(&png, 20, 24);
    let bytes = fs::read(&png).unwrap();
    for name in ["c.jfif", "d.JPE", "e.jif", "f.apng", "g.Dib", "h.mpo", "i.heic", "j.avif"] {
        fs::write(photos.join(name), &bytes).unwrap();
    }
    fs::write(&jpeg, &bytes).unwrap();
    let answer = run(arguments!["classify", "--model", &model, "--json", &photos]);
    assert_eq!((answer.code, inputs(&answer).len()), (0, 8), "{answer:?}");
    let expected = "passed over, without the ending of an image: i.heic, j.avif";
    assert!(answer.stderr.contains(expected), "{answer:?}");
}

/// A GIF of frames of one grey each, shown for so many hundredths of a second.
fn gif(path: &Path, hundredths: &[u16]) {
    let mut file = b"GIF89a\x18\0\x18\0\x80\0\0\xff\xff\xff\0\0\0".to_vec();
    for time in hundredths {
        file.extend([b'!', 0xf9, 4, 0]);
        file.extend(time.to_le_bytes());
        file.extend(b"\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0");
    }
    file.push(b';');
    fs::write(path, file).unwrap();
}

#[test]
fn an_animation_is_as_long_as_its_frames_say() {
    let folder = tempdir().unwrap();
    let Reference { model, .. } = reference(folder.path());
    let [video, output] = ["uneven.gif", "out"].map(|name| folder.path().join(name));
    // 20 ms nine times and half a second: 0.68 s.
    gif(&video, &[2, 2, 2, 50, 2, 2, 2, 2, 2, 2]);
    let answer = autoencode(&model, &video, &output, &["--json"]).json();
    assert_eq!([&answer["frames"], &answer["seconds"]], [&json!(17), &json!(0.68)]);
    gif(&video, &[0, 1]);
    let answer = autoencode(&model, &video, &output, &["--json", "--force"]).json();
    assert_eq!(answer["seconds"], json!(0.2));
    assert_eq!(read_frames(&output).unwrap().count(), 5);
    gif(&video, &[4, 65_535, 4]);
    let refused = autoencode(&model, &video, &folder.path().join("none"), &[]);
    assert_ne!(refused.code, 0);
    let expected = "uneven.gif: cannot use the video: frame 1 lasts 655.4 s, expected at most 60";
    assert!(refused.stderr.contains(expected), "{refused:?}");
    assert!(!folder.path().join("none").exists());
}

#[test]
fn sounds_of_unknown_size_and_of_ffmpeg_go_with_a_video() {
    let folder = tempdir().unwrap();
    let Reference { model, frames, sound, .. } = reference(folder.path());
    let autoencode = |audio: &Path| {
        let more = ["--audio", audio.to_str().unwrap(), "--json", "--force"];
        autoencode(&model, &frames, &folder.path().join("out"), &more).json()
    };
    let expected = autoencode(&sound);
    let mut bytes = fs::read(&sound).unwrap();
    let unknown = folder.path().join("unknown.wav");
    for size in [0, 0x7fff_f000, u32::MAX] {
        bytes[4..8].copy_from_slice(&size.to_le_bytes());
        bytes[40..44].copy_from_slice(&size.to_le_bytes());
        fs::write(&unknown, &bytes).unwrap();
        assert_eq!(autoencode(&unknown), expected, "{size:#x}");
    }
    if has_ffmpeg() {
        let other = folder.path().join("sound.au");
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-i"]).arg(&sound).arg(&other);
        assert!(ffmpeg.status().unwrap().success());
        assert_eq!(autoencode(&other), expected);
    }
}

#[test]
fn folders_and_patterns_stand_for_their_videos() {
    let folder = tempdir().unwrap();
    let Reference { model, .. } = reference(folder.path());
    let videos = folder.path().join("videos");
    fs::create_dir(&videos).unwrap();
    // The content decides: an ending of ffmpeg's keeps the folder from being one of frames.
    for name in ["a.mkv", "b.MP4", "c.txt"] {
        gif(&videos.join(name), &[8, 8, 8, 8]);
    }
    let features = |input: &Path| {
        let output = folder.path().join("x.npy");
        let command =
            arguments!["features", "--model", &model, input, "-o", &output, "--json", "--force"];
        run(command)
    };
    let answer = features(&videos);
    let names = answer.json()["inputs"].to_string();
    assert!(names.contains("a.mkv frames 1 to") && names.contains("b.MP4 frames 1 to"), "{names}");
    assert!(answer.stderr.contains("without the ending of a video: c.txt"), "{answer:?}");
    let matched = features(&videos.join("*.mkv")).json()["inputs"].to_string();
    assert!(matched.contains("a.mkv") && !matched.contains("b.MP4"), "{matched}");
    let evaluation = run(arguments!["evaluate", &model, &videos, "--json"]).json();
    let one = run(arguments!["evaluate", &model, &videos.join("a.mkv"), "--json"]).json();
    let count = |answer: &serde_json::Value| answer["examples"].as_u64().unwrap();
    assert_eq!(count(&evaluation), 2 * count(&one));
}
