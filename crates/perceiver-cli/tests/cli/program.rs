//! What the program tells about itself.

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
        // A hyphen is written with a backslash before it.
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
