//! Systems that refuse threads: one line, and no panic.

use std::ffi::OsString;
use std::fs;
use std::process::Stdio;

use tempfile::tempdir;

use crate::support::{Run, arguments, classifier_and_flow, fixture, listing, photo, program};
use crate::train;
use crate::videos::has_ffmpeg;

/// No thread gets its stack, as where a limit on processes or memory is reached.
fn run_without_threads(command: &[OsString]) -> Run {
    let stack = (1_u64 << 46).to_string();
    let output = program().args(command).env("RUST_MIN_STACK", stack).stdin(Stdio::null()).output();
    output.unwrap().into()
}

#[test]
fn a_command_that_needs_threads_says_that_there_are_none() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let [classifier, flow] = classifier_and_flow(folder.path());
    fs::create_dir(at("photos")).unwrap();
    for name in ["photos/a.png", "photos/b.png"] {
        photo(&at(name), 32, 24);
    }
    let recipe = train::folder(3);
    let train = train::arguments(recipe.path(), &[]).into_iter().map(OsString::from).collect();
    let text = fixture("masked_lm");
    fs::write(at("clip.mp4"), "any bytes").unwrap();
    let before = listing(folder.path());
    for command in [
        arguments!["classify", "--model", &classifier, at("photos")],
        arguments!["features", "--model", &classifier, at("photos"), "-o", at("x.npy")],
        arguments!["fill-mask", "--model", &text, "![MASK]"],
        arguments!["flow", "--model", &flow, at("photos"), "-o", at("flows")],
        arguments!["convert", &text, at("converted")],
        arguments!["autoencode", at("clip.mp4"), "-o", at("again.gif")],
        train,
    ] {
        if command[0] == "autoencode" && !has_ffmpeg() {
            continue;
        }
        let run = run_without_threads(&command);
        assert_eq!((run.code, run.stderr.lines().count()), (1, 1), "{command:?}: {run:?}");
        assert!(run.stderr.contains("cannot start a thread"), "{run:?}");
    }
    assert_eq!(listing(folder.path()), before);
    let tokenize = arguments!["tokenize", "needs none"];
    let run = run_without_threads(&tokenize);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
}
