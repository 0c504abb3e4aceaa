//! Runs the seeds of every fuzz target, and the crashes that were found, through the target's
//! function.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::Mutex;

#[path = "../fuzz/src/lib.rs"]
#[allow(dead_code, unreachable_pub, reason = "fuzz targets call these functions from their crate")]
mod fuzz;

/// Panics of this repository's code, caught or not.
static OURS: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[test]
fn parsers_accept_the_seeds_and_survive_the_crashes() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    let mut faults = Vec::new();
    // Decoders of other crates may panic where their caller catches it; ours may not.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if fuzz::is_ours(panic) {
            OURS.lock().expect("a lock").push(panic.to_string());
        }
        usual(panic);
    }));
    for (name, accepts) in fuzz::TARGETS {
        let folder = seeds.join(name);
        let files = fs::read_dir(&folder);
        let files = files.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for file in files {
            let file = file.expect("an entry of the folder");
            let seed = format!("{name}/{}", file.file_name().to_string_lossy());
            let bytes = fs::read(file.path()).expect("a seed");
            match catch_unwind(|| accepts(&bytes)) {
                Ok(true) => {}
                Ok(false) if seed.contains("/crash-") || seed.contains("/refused-") => {}
                Ok(false) => faults.push(format!("{seed}: the parser refuses it")),
                Err(_) => faults.push(format!("{seed}: the target panics")),
            }
        }
    }
    let ours = OURS.lock().expect("a lock");
    assert!(faults.is_empty() && ours.is_empty(), "{faults:#?} {ours:#?}");
}

#[test]
fn every_target_has_a_program_and_seeds_and_no_other_exists() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let names = |folder: &str| {
        let entries = fs::read_dir(fuzz.join(folder)).expect("a folder of fuzz");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let mut names: Vec<_> = paths.filter_map(|path| stem(&path)).collect();
        names.sort();
        names
    };
    let targets = fuzz::TARGETS.map(|(name, _)| name);
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("seeds"), targets);
}
