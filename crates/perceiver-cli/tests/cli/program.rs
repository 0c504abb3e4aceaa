//! The program's help, version and documentation.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{program, run};

/// The commands that the program's help lists.
fn commands() -> Vec<String> {
    let help = run(["--help"]);
    assert_eq!(help.code, 0);
    let lines = help.stdout.lines().skip_while(|line| !line.starts_with("From a text"));
    let lines = lines.take_while(|line| !line.starts_with("Options"));
    let names = lines.filter_map(|line| line.strip_prefix("  "));
    let names: Vec<String> =
        names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    assert!(names.len() > 10, "{names:?}");
    names
}

/// The arguments of a command line as a reader sees it, up to a redirection.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for letter in line.chars() {
        match (letter, quote) {
            ('"' | '\'', None) => quote = Some(letter),
            (_, Some(open)) if letter == open => quote = None,
            (' ', None) => words.push(String::new()),
            _ => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words.into_iter().take_while(|word| !["|", ">", "\\"].contains(&word.as_str())).collect()
}

/// A command that is asked for its help parses all of its arguments and does nothing.
fn assert_known(line: &str) {
    let help = run(words(line).iter().map(String::as_str).chain(["--help"]));
    assert_eq!((help.code, help.stderr.as_str()), (0, ""), "{line}");
}

#[test]
fn every_command_has_help_whose_examples_it_understands() {
    for command in commands().iter().filter(|command| *command != "help") {
        let help = run([command, "--help"]);
        assert_eq!((help.code, help.stderr.as_str()), (0, ""));
        let (_, examples) = help.stdout.split_once("\nExamples:\n").expect(command);
        let lines: Vec<_> =
            examples.lines().filter_map(|line| line.strip_prefix("  perceiver ")).collect();
        assert!(!lines.is_empty(), "{examples}");
        for line in lines {
            assert!(line.starts_with(command.as_str()), "{line}");
            assert_known(line);
        }
    }
    let version = run(["--version"]);
    assert_eq!(version.stdout, format!("perceiver {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_the_documents_tell_people_to_type_is_understood() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (document, prompt, least) in [
        ("README.md", "    cargo run --release -- ", 2),
        ("docs/training.md", "    cargo run --release -- ", 4),
        ("docs/guide.md", "    $ perceiver ", 20),
    ] {
        let text = fs::read_to_string(root.join(document)).unwrap();
        let commands: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(prompt)).collect();
        assert!(commands.len() >= least, "{document}: {commands:?}");
        for line in commands {
            assert_known(line);
        }
    }
}

#[test]
fn every_shell_s_completions_name_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = run(["completions", shell]);
        assert_eq!(script.code, 0, "{script:?}");
        for command in commands() {
            assert!(script.stdout.contains(&command), "{shell} does not know {command}");
        }
    }
}

#[test]
fn the_manual_names_every_command_and_each_has_a_page() {
    let manual = run(["man"]).stdout;
    for command in commands() {
        // A hyphen is escaped by a backslash.
        let name = format!("perceiver-{command}").replace('-', "\\-");
        assert!(manual.contains(&name), "{name} is not in the manual");
        let page = run(["man", &command]);
        assert!(page.stdout.contains(&name), "the page of {command} has another name");
    }
    assert_eq!(run(["man", "nothing"]).code, 2);
}

#[test]
fn the_doctor_times_every_device_and_names_what_fails() {
    // A cache in an empty folder, and no ffmpeg.
    let folder = tempfile::tempdir().unwrap();
    let ran = program()
        .args(["doctor", "--json"])
        .env("HF_HUB_CACHE", folder.path())
        .env("PATH", folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let answer: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(answer["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(answer["ffmpeg"], Value::Null);
    assert_eq!(answer["cache"]["bytes"], 0);
    let devices = answer["devices"].as_array().unwrap();
    assert_eq!(devices[0]["name"], "flex");
    for device in devices {
        let is_timed = device["milliseconds"].as_f64().is_some_and(|time| time > 0.0);
        assert!(is_timed != device["error"].is_string(), "{device}");
    }
}
